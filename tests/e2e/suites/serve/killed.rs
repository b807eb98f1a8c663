//! A host killed before and after every single effect of a run, as its record enumerates them (`rota_tests::crash`).

use super::{Serving, WORK, each_once};
use rota_testbed::Postgres;
use rota_tests::crash::{Crashes, Moment};

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_host_is_killed_before_an_effect_every_step_is_done_once() {
    kill_at([Moment::Unrecorded, Moment::Recorded]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_host_is_killed_after_an_effect_every_step_is_done_once() {
    kill_at([Moment::Happened, Moment::Told]).await;
}

async fn kill_at(moments: [Moment; 2]) {
    let steps = 2;
    let crashes = Crashes::over(Postgres::shared().await.unwrap().fresh_database("killed_store").await.unwrap());
    let jobs = WORK.replace("count = 6, pause = 250", "count = 2");
    let mut serving = Serving::over("killed", &jobs, "[store]\nurl = \"env:STORE_URL\"\n").await;
    serving.rota.set("STORE_URL", crashes.url());
    let mut host = serving.serve().await;
    let whole = serving.queue("work", &[]).await;
    serving.becomes(&whole, &["succeeded"]).await;
    let effects = crashes.recorded(&whole).await.unwrap();
    assert_eq!(effects.len(), 3, "the fence, and the steps: {effects:?}");
    for effect in &effects {
        for moment in moments {
            let armed = crashes.arm(effect.sequence, moment).await.unwrap();
            let run = serving.queue("work", &[]).await;
            armed.kill(host, &run).await.unwrap();
            // The table tells whether it had happened.
            let fences = serving.fences(&run).await;
            let expected = effect.sequence > 1 || matches!(moment, Moment::Happened | Moment::Told);
            assert_eq!(fences == 1, expected, "{moment:?} of {effect}");
            host = serving.serve().await;
            let over = serving.becomes(&run, &["succeeded"]).await;
            assert_eq!(over["run"]["attempt"], 2, "{moment:?} of {effect}: {over:#}");
            assert_eq!(serving.done(&run).await, each_once(steps), "{moment:?} of {effect}");
        }
    }
    super::stop(host).await;
}
