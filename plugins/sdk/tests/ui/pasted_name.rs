use rota_sdk::prelude::*;

async fn vacuum(session: &mut Session, table: String) -> Result<()> {
    session.execute(sql!("VACUUM {}", table), params![]).await?;
    Ok(())
}

fn main() {}
