use rota_sdk::prelude::*;

async fn look(session: &mut Session) -> Result<()> {
    let mut rows = session.query::<i64>("select 1", params![]).await?;
    session.execute("vacuum", params![]).await?;
    rows.next().await?;
    Ok(())
}

fn main() {}
