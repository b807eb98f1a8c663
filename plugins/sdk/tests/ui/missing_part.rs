use rota_sdk::prelude::*;

async fn vacuum(session: &mut Session, table: Quoted) -> Result<()> {
    session.execute(sql!("COPY {} TO {}", table), params![]).await?;
    Ok(())
}

fn main() {}
