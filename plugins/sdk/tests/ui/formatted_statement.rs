use rota_sdk::prelude::*;

async fn vacuum(session: &mut Session, table: &str) -> Result<()> {
    session.execute(format!("VACUUM {table}"), params![]).await?;
    Ok(())
}

fn main() {}
