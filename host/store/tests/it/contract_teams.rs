//! Contract: what teams use in a day, counted for all hosts.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support;

use futures::future::join_all;
use rota_authority::{EffectRecord, LedgerError, UsedUp};
use rota_protocol::{Span, WaitReason};
use rota_store::{Keep, NewRun, RunState, TeamQuota, TeamQuotas, TeamShare, TeamUsage, team_key};
use std::time::Duration;
use support::{Place, World, contract, run, with_key};

const TEAM: &str = "growth";

async fn used(world: &World) -> TeamUsage {
    world.store.team_usage(&[TEAM.into()]).await.unwrap().remove(0)
}

/// A day goes by: the clock is stepped, or what was used today was used yesterday.
async fn a_day_passes(world: &World) {
    match &world.place {
        Place::Sqlite { .. } => world.pass(Span::seconds(86_400)).await,
        Place::Postgres(database) => database.execute("update rota.team_usage set day = day - 1").await.unwrap(),
    }
}

fn runs(most: u64) -> TeamQuotas {
    TeamQuotas { runs: Some(most), ..TeamQuotas::default() }
}

async fn begins(world: &World, run: &str, most: &TeamQuotas) -> Result<TeamShare, TeamQuota> {
    world.store.begin_team_run(run, TEAM, Span(0), most).await.unwrap()
}

fn of_team(plugin: &str, most: u32) -> NewRun {
    with_key(plugin, &team_key(TEAM), most)
}

contract! {
    async fn a_run_is_counted_once_and_the_quota_is_the_days(world) {
        let nothing = used(world).await;
        assert_eq!((nothing.runs, nothing.cpu, nothing.bytes_out, nothing.effects), (0, Span(0), 0, 0));
        assert!(begins(world, "a", &runs(2)).await.is_ok());
        assert!(begins(world, "a", &runs(2)).await.is_ok(), "another attempt of it");
        assert!(begins(world, "b", &runs(2)).await.is_ok());
        assert_eq!(begins(world, "c", &runs(2)).await, Err(TeamQuota::Runs));
        assert!(begins(world, "b", &runs(2)).await.is_ok(), "what was counted goes on");
        assert_eq!(used(world).await.runs, 2);
        assert!(begins(world, "c", &TeamQuotas::default()).await.is_ok(), "without a bound it is counted, too");
        assert_eq!(used(world).await.runs, 3);
        let others = world.store.team_usage(&["ops".into(), TEAM.into()]).await.unwrap();
        assert_eq!((others[0].team.as_str(), others[0].runs, others[1].runs), ("ops", 0, 3));
        let before = used(world).await.day;
        a_day_passes(world).await;
        assert_eq!(used(world).await.runs, 0);
        assert!(begins(world, "d", &runs(1)).await.is_ok());
        assert_eq!(begins(world, "e", &runs(1)).await, Err(TeamQuota::Runs));
        let after = used(world).await;
        assert_eq!((after.runs, after.day - before), (1, i64::from(!world.is_postgres())));
    }

    async fn cpu_time_and_bytes_are_set_aside_as_far_as_they_go(world) {
        let most = TeamQuotas { cpu: Some(Span::seconds(10)), bytes_out: Some(1_000), ..TeamQuotas::default() };
        let first = world.store.begin_team_run("a", TEAM, Span::seconds(4), &most).await.unwrap().unwrap();
        assert_eq!((first.cpu, first.bytes_out), (Span::seconds(4), 0));
        let second = world.store.take_team_share(TEAM, Span::seconds(4), 600, &most).await.unwrap();
        assert_eq!((second.cpu, second.bytes_out), (Span::seconds(4), 600));
        let third = world.store.take_team_share(TEAM, Span::seconds(4), 600, &most).await.unwrap();
        assert_eq!((third.cpu, third.bytes_out), (Span::seconds(2), 400), "what is left");
        let fourth = world.store.take_team_share(TEAM, Span::seconds(4), 600, &most).await.unwrap();
        assert_eq!((fourth.cpu, fourth.bytes_out), (Span(0), 0));
        assert_eq!(world.store.begin_team_run("b", TEAM, Span::seconds(1), &most).await.unwrap(), Err(TeamQuota::Cpu));
        assert_eq!(used(world).await.runs, 1, "a run that did not begin is not counted");
        // What was not used is there for others.
        world.store.give_back_team_share(TEAM, TeamShare { cpu: Span::seconds(3), bytes_out: 100, ..first }).await.unwrap();
        let usage = used(world).await;
        assert_eq!((usage.cpu, usage.bytes_out), (Span::seconds(7), 900));
        assert!(world.store.begin_team_run("b", TEAM, Span::seconds(1), &most).await.unwrap().is_ok());
        // What was used beyond what was set aside is counted.
        world.store.give_back_team_share(TEAM, TeamShare { cpu: Span::seconds(-5), bytes_out: 0, ..first }).await.unwrap();
        assert_eq!(used(world).await.cpu, Span::seconds(13));
        // A rest that is too small for anything is nothing to begin with.
        let scarce = TeamQuotas { cpu: Some(Span(Span::seconds(13).0 + 9_000)), ..TeamQuotas::default() };
        assert_eq!(world.store.begin_team_run("c", TEAM, Span::seconds(1), &scarce).await.unwrap(), Err(TeamQuota::Cpu));
        // Nothing is left of more than all, and what is given back twice makes no credit.
        assert_eq!(world.store.take_team_share(TEAM, Span::seconds(1), 0, &most).await.unwrap().cpu, Span(0));
        world.store.give_back_team_share(TEAM, TeamShare { cpu: Span::seconds(99), bytes_out: 99_999, ..first }).await.unwrap();
        let usage = used(world).await;
        assert_eq!((usage.cpu, usage.bytes_out), (Span(0), 0));
    }

    async fn effects_are_counted_with_their_record_and_refused_beyond_the_quota(world) {
        let held = world.begun(run("p")).await;
        let ledger = world.store.team_ledger(&held.id, &held.fence, TEAM, Some(2));
        let planned = EffectRecord { planned: true, ..support::effect("planned") };
        assert_eq!(ledger.begin(planned).await.unwrap(), 1);
        assert_eq!(used(world).await.effects, 0, "what does not happen does not count");
        assert_eq!(ledger.begin(support::effect("one")).await.unwrap(), 2);
        assert_eq!(ledger.begin(support::effect("two")).await.unwrap(), 3);
        let error = ledger.begin(support::effect("three")).await.unwrap_err();
        let expected = UsedUp { team: TEAM.into(), setting: "effects_per_day", limit: "2".into(), what: "effects" };
        assert_eq!(error, LedgerError::UsedUp(expected));
        assert_eq!(world.store.effects(&held.id).await.unwrap().len(), 3, "no record of what did not happen");
        assert_eq!(used(world).await.effects, 2);
        a_day_passes(world).await;
        // The lease of the run is over by then.
        let next = world.begun(run("p")).await;
        let ledger = world.store.team_ledger(&next.id, &next.fence, TEAM, Some(2));
        assert_eq!(ledger.begin(support::effect("of the next day")).await.unwrap(), 1);
        assert_eq!(used(world).await.effects, 1);
    }

    async fn who_does_not_hold_the_run_counts_nothing(world) {
        let held = world.begun(run("p")).await;
        let fence = held.fence.clone();
        held.succeed().await;
        let error = world.store.team_ledger(&held.id, &fence, TEAM, None).begin(support::effect("late")).await.unwrap_err();
        assert!(matches!(error, LedgerError::LeaseLost(_)), "{error:?}");
        assert_eq!(used(world).await.effects, 0);
        assert!(world.store.effects(&held.id).await.unwrap().is_empty());
    }

    async fn two_hosts_at_once_never_get_more_than_there_is(world) {
        let other = world.another().await;
        let stores = [world.store.clone(), other];
        let most = TeamQuotas { runs: Some(25), cpu: Some(Span::seconds(25)), bytes_out: Some(250), ..TeamQuotas::default() };
        let began = join_all((0..60_usize).map(|n| {
            let store = stores[n % 2].clone();
            async move { store.begin_team_run(&format!("run-{n}"), TEAM, Span(0), &most).await.unwrap() }
        }))
        .await;
        assert_eq!(began.iter().filter(|answer| answer.is_ok()).count(), 25);
        let taken = join_all((0..60_usize).map(|n| {
            let store = stores[n % 2].clone();
            async move { store.take_team_share(TEAM, Span::millis(700), 7, &most).await.unwrap() }
        }))
        .await;
        assert_eq!(taken.iter().map(|share| share.cpu.0).sum::<i64>(), Span::seconds(25).0);
        assert_eq!(taken.iter().map(|share| share.bytes_out).sum::<u64>(), 250);
        let usage = used(world).await;
        assert_eq!((usage.runs, usage.cpu, usage.bytes_out), (25, Span::seconds(25), 250));
    }

    /// Each host commits together what comes together, here for many teams, in the order in which it comes.
    async fn two_hosts_that_count_for_many_teams_at_once_never_wait_for_each_other(world) {
        const TEAMS: usize = 20;
        let other = world.another().await;
        let stores = [world.store.clone(), other.clone()];
        let most = TeamQuotas::default();
        for _ in 0..10 {
            join_all((0..2 * TEAMS).map(|n| {
                let store = stores[n % 2].clone();
                // What comes first for one comes last for the other.
                let team = if n % 2 == 0 { n / 2 } else { TEAMS - 1 - n / 2 };
                async move { store.take_team_share(&format!("team-{team:02}"), Span(1), 1, &most).await.unwrap() }
            }))
            .await;
        }
        let teams: Vec<String> = (0..TEAMS).map(|team| format!("team-{team:02}")).collect();
        let usage = world.store.team_usage(&teams).await.unwrap();
        assert!(usage.len() == TEAMS && usage.iter().all(|team| (team.cpu, team.bytes_out) == (Span(20), 20)), "{usage:?}");
        let Place::Postgres(database) = &world.place else { return };
        // What a connection has counted is known at the latest when it is closed.
        world.store.close().await;
        other.close().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let found = "select deadlocks from pg_stat_database where datname = current_database()";
        let mut connection = database.connect().await.unwrap();
        let deadlocks: i64 = sqlx::query_scalar(found).fetch_one(&mut connection).await.unwrap();
        assert_eq!(deadlocks, 0, "one of the two was ended for the other's sake, and did it again");
    }

    async fn effects_of_many_runs_on_two_hosts_keep_to_the_quota(world) {
        let other = world.another().await;
        let (here, there) = (world.worker("here").await, support::Worker::on(other.clone(), "there").await);
        let mut ledgers = Vec::new();
        for n in 0..6 {
            let worker = if n % 2 == 0 { &here } else { &there };
            let held = worker.begin(run(&format!("p{n}"))).await.unwrap();
            ledgers.push(held.store.team_ledger(&held.id, &held.fence, TEAM, Some(40)));
        }
        let answers = join_all(ledgers.iter().map(|ledger| async move {
            let mut through = 0;
            for n in 0..15 {
                match ledger.begin(support::effect(&format!("{n}"))).await {
                    Ok(_) => through += 1,
                    Err(LedgerError::UsedUp(_)) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            through
        }))
        .await;
        assert_eq!(answers.iter().sum::<u64>(), 40);
        assert_eq!(used(world).await.effects, 40);
    }

    async fn runs_at_once_are_bounded_across_hosts_and_the_next_comes_when_one_is_over_or_lost(world) {
        let other = world.another().await;
        let queued: Vec<NewRun> = (0..4).map(|n| of_team(&format!("{n}"), 2)).collect();
        let ids: Vec<String> = queued.iter().map(|run| run.id.clone()).collect();
        world.store.enqueue(queued).await.unwrap();
        let here = world.worker("here").await;
        let there = support::Worker::on(other, "there").await.lease(support::SHORT);
        let first = here.claim(1).await;
        let second = there.claim(4).await;
        assert_eq!((first.len(), second.len()), (1, 1), "two at once on both together");
        let usage = used(world).await;
        assert_eq!((usage.at_once, usage.waiting), (2, 2));
        let waits = world.store.run(&ids[2]).await.unwrap();
        assert_eq!((waits.state, waits.wait), (RunState::Waiting, Some(WaitReason::Concurrency)));
        assert_eq!(waits.blocked.as_deref(), Some("team:growth"));
        assert!(here.claims(4).await.is_empty());
        first[0].succeed().await;
        assert_eq!(here.claims(4).await, ["2"]);
        // The other host vanishes: its lease ends, and its place is free.
        assert!(here.claims(4).await.is_empty());
        world.pass(Span(support::SHORT.0 + Span::millis(100).0)).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(world.store.reap().await.unwrap().len(), 1);
        assert_eq!(here.claims(4).await, ["3"]);
        assert_eq!(used(world).await.at_once, 2);
    }

    /// A host of the version before forgets runs, and knows nothing of their having been counted.
    async fn that_a_run_was_counted_is_forgotten_after_the_run_whoever_forgot_that(world) {
        let held = world.begun(run("p")).await;
        assert!(begins(world, &held.id, &runs(9)).await.is_ok());
        for n in 0..3 {
            assert!(begins(world, &format!("forgotten-{n}"), &runs(9)).await.is_ok());
        }
        let folder = tempfile::tempdir().unwrap();
        let all = Keep { age: Span(i64::MAX), per_job: u32::MAX };
        for (left, file) in [(4, "before"), (2, "first"), (1, "second"), (1, "third")] {
            let summary = world.store.backup(&folder.path().join(file)).await.unwrap();
            assert!(summary.rows.contains(&("team_runs".into(), left)), "{file}: {summary:?}");
            assert_eq!(world.store.prune(&all, 2).await.unwrap(), 0);
        }
        assert_eq!(used(world).await.runs, 4, "they were counted");
    }

    async fn a_backup_has_what_teams_used(world) {
        let held = world.begun(run("p")).await;
        assert!(begins(world, &held.id, &runs(5)).await.is_ok());
        held.store.team_ledger(&held.id, &held.fence, TEAM, None).begin(support::effect("x")).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        let summary = world.store.backup(&file).await.unwrap();
        for table in ["team_usage", "team_runs"] {
            assert!(summary.rows.contains(&(table.into(), 1)), "{summary:?}");
        }
        let tables = world.store.status().await.unwrap().tables;
        assert!(tables.iter().any(|table| table.name == "team_usage"), "{tables:?}");
    }
}
