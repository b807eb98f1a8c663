//! What the gate lets through, what it refuses in which words, and what is on record of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use async_trait::async_trait;
use rota_authority::{
    Agreement, Authorized, Decision, Denied, Effect, EffectClass, EffectRecord, EffectRefused, Exact, Gate, Grant,
    Ledger, LedgerError, MemoryLedger, Mode, Outcome, Quotas, RunIdentity, Sql, SqlAccess, Storage, StorageAccess,
};
use rota_config::Binding;
use std::sync::Arc;

fn gate(mode: Mode, quotas: Quotas, ledger: Arc<dyn Ledger>, accesses: &[&str]) -> Arc<Gate> {
    let grant = Grant {
        slot: "database".into(),
        binding_name: "kosmos".into(),
        binding: Binding::parse_ad_hoc("postgres://me:canary-secret@localhost/kosmos").unwrap(),
        accesses: accesses.iter().map(|a| (*a).to_owned()).collect(),
    };
    let identity = RunIdentity { run: "r".into(), job: "j".into() };
    Gate::new(identity, mode, quotas, ledger, [grant])
}

fn executing(accesses: &[&str]) -> (Arc<Gate>, Arc<MemoryLedger>) {
    let ledger = Arc::new(MemoryLedger::default());
    (gate(Mode::Execute, Quotas::default(), ledger.clone(), accesses), ledger)
}

fn effect() -> Effect {
    Effect {
        object: "public.orders".into(),
        detail: "VACUUM public.orders".into(),
        class: EffectClass::Write,
        exact: Exact::shown(),
    }
}

fn maintain(gate: &Arc<Gate>) -> Result<Authorized<Sql>, Denied> {
    gate.authorise::<Sql>("sql.execute", "database", &[SqlAccess::Maintain])
}

#[test]
fn what_is_granted_is_authorised_and_nothing_else() {
    let (gate, _) = executing(&["read"]);
    assert!(gate.authorise::<Sql>("sql.query", "database", &[SqlAccess::Read]).is_ok());
    for access in SqlAccess::ALL.into_iter().filter(|access| *access != SqlAccess::Read) {
        assert!(gate.authorise::<Sql>("sql.execute", "database", &[access]).is_err(), "{access}");
        assert!(
            gate.authorise::<Sql>("sql.execute", "database", &[SqlAccess::Read, access]).is_err(),
            "read + {access}"
        );
    }
}

#[test]
fn a_denial_names_the_flag_that_would_give_it_and_no_secret() {
    let (gate, _) = executing(&["read"]);
    let said = maintain(&gate).err().unwrap().to_string();
    assert!(said.contains("--grant database=read,maintain"), "{said}");
    assert!(said.contains("`kosmos`") && said.contains("sql.execute"), "{said}");
    let said = gate.authorise::<Sql>("sql.query", "standby", &[SqlAccess::Read]).err().unwrap().to_string();
    assert!(said.contains("--bind standby=BINDING --grant standby=read"), "{said}");
    let said = gate.authorise::<Storage>("storage.put", "database", &[StorageAccess::Write]).err().unwrap().to_string();
    assert!(said.contains("storage binding"), "{said}");
    let (kept, count) = gate.denials();
    assert_eq!((kept.len(), count), (3, 3));
    assert!(!format!("{kept:?}").contains("canary"));
}

#[test]
fn a_parameter_needs_the_access_and_a_binding_that_names_it() {
    // A binding of an address names none.
    let (bare, _) = executing(&["alter-system"]);
    let denied = bare.authorise_parameter("sql.execute", "database", Some("work_mem")).err().unwrap();
    let said = denied.to_string();
    assert!(
        said.contains("set no parameter, not work_mem")
            && said.contains("bindings.kosmos.alter_system = [\"work_mem\"]"),
        "{said}"
    );
    assert!(matches!(bare.authorise_parameter("sql.reload", "database", None), Err(Denied::Parameter { .. })));
    let naming = |accesses: &[&str]| {
        let Binding::Sql(mut binding) = Binding::parse_ad_hoc("postgres://me@localhost/kosmos").unwrap() else {
            panic!()
        };
        binding.alter_system = vec!["work_mem".into()];
        let grant = Grant {
            slot: "database".into(),
            binding_name: "kosmos".into(),
            binding: Binding::Sql(binding),
            accesses: accesses.iter().map(|a| (*a).to_owned()).collect(),
        };
        let identity = RunIdentity { run: "r".into(), job: "j".into() };
        Gate::new(identity, Mode::Execute, Quotas::default(), Arc::new(MemoryLedger::default()), [grant])
    };
    let gate = naming(&["read", "ddl"]);
    assert!(matches!(
        gate.authorise_parameter("sql.execute", "database", Some("work_mem")),
        Err(Denied::Missing { .. })
    ));
    assert_eq!(gate.denials().1, 1);
    let gate = naming(&["alter-system"]);
    let authorized = gate.authorise_parameter("sql.execute", "database", Some("WORK_MEM")).unwrap();
    assert_eq!(authorized.needed(), [SqlAccess::AlterSystem]);
    assert!(gate.authorise_parameter("sql.reload", "database", None).is_ok());
    assert!(gate.authorise_parameter("sql.execute", "database", Some("shared_buffers")).is_err());
    assert_eq!(gate.denials().1, 1);
}

#[test]
fn a_slot_without_any_access_cannot_even_be_opened() {
    let (gate, _) = executing(&[]);
    assert!(matches!(gate.authorise::<Sql>("sql.open", "database", &[]), Err(Denied::Missing { .. })));
    let (gate, _) = executing(&["maintain"]);
    assert!(gate.authorise::<Sql>("sql.open", "database", &[]).is_ok());
}

#[test]
fn more_that_is_not_shown_is_part_of_what_is_compared() {
    let plain = Exact::of(["copy t from stdin"]);
    assert_eq!(plain.clone().with(None::<[u8; 1]>), plain);
    assert_ne!(plain.clone().with(Some("1")), plain);
    assert_ne!(plain.clone().with(Some("1")), plain.clone().with(Some("2")));
    assert_eq!(plain.clone().with(Some("1")), plain.with(Some("1")));
}

#[tokio::test]
async fn a_run_that_is_held_to_a_plan_has_its_effects_in_order_and_no_others() {
    let of = |detail: &str, exact: Exact| Effect { detail: detail.into(), exact, ..effect() };
    let gate = |mode, agreement| {
        let grant = Grant {
            slot: "database".into(),
            binding_name: "kosmos".into(),
            binding: Binding::parse_ad_hoc("postgres://me@localhost/kosmos").unwrap(),
            accesses: vec!["maintain".into()],
        };
        let identity = RunIdentity { run: "r".into(), job: "j".into() };
        let ledger = Arc::new(MemoryLedger::default());
        (Gate::held(identity, mode, Quotas::default(), ledger.clone(), [grant], agreement), ledger)
    };
    let noted = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (planning, _) = gate(Mode::Plan, Agreement::Noted(noted.clone()));
    for (detail, exact) in
        [("delete 5", Exact::shown()), ("delete 6", Exact::shown()), ("2 values", Exact::of(["1", "2"]))]
    {
        drop(maintain(&planning).unwrap().effect(of(detail, exact)).await.unwrap());
    }
    assert!(planning.list_in_plan("run", "run.compensation", of("undo", Exact::of(["f"]))).await.unwrap());
    let plan = noted.lock().unwrap().clone();
    let (gate, ledger) = gate(Mode::Execute, Agreement::Held(plan));
    for (detail, exact, admitted) in [
        ("delete 6", Exact::shown(), false),
        ("delete 5", Exact::shown(), true),
        ("delete 5", Exact::shown(), false),
        ("delete 6", Exact::shown(), true),
        ("2 values", Exact::shown(), false),
        ("2 values", Exact::of(["12", ""]), false),
        ("2 values", Exact::of(["1", "3"]), false),
        // What is shown may differ where everything is compared (a plan shows what a change would change).
        ("2 values, in other words", Exact::of(["1", "2"]), true),
        ("2 values", Exact::of(["1", "2"]), false),
    ] {
        let decided = maintain(&gate).unwrap().effect(of(detail, exact)).await;
        assert_eq!(decided.is_ok(), admitted, "{detail}");
        if let Err(refused) = decided {
            assert!(matches!(refused, EffectRefused::NotPlanned(Denied::NotPlanned { .. })), "{refused}");
        }
    }
    for (exact, admitted) in [(Exact::of(["g"]), false), (Exact::of(["f"]), true), (Exact::of(["f"]), false)] {
        let registered = gate.list_in_plan("run", "run.compensation", of("undo", exact)).await;
        assert_eq!(registered.is_ok(), admitted);
    }
    // What was denied is neither on record nor done; and counted.
    assert_eq!((ledger.effects().len(), gate.denials().1), (3, 8));
}

#[tokio::test]
async fn what_undoes_comes_before_what_the_plan_has_behind_it_and_what_is_left_is_told() {
    let of = |detail: &str| Effect { detail: detail.into(), exact: Exact::shown(), ..effect() };
    let noted = Arc::new(std::sync::Mutex::new(Vec::new()));
    let gate = |mode, agreement| {
        let grant = Grant {
            slot: "database".into(),
            binding_name: "kosmos".into(),
            binding: Binding::parse_ad_hoc("postgres://me@localhost/kosmos").unwrap(),
            accesses: vec!["maintain".into()],
        };
        let identity = RunIdentity { run: "r".into(), job: "j".into() };
        Gate::held(identity, mode, Quotas::default(), Arc::new(MemoryLedger::default()), [grant], agreement)
    };
    let planning = gate(Mode::Plan, Agreement::Noted(noted.clone()));
    drop(maintain(&planning).unwrap().effect(of("before")).await.unwrap());
    assert!(planning.list_in_plan("run", "run.compensation", of("undo")).await.unwrap());
    drop(maintain(&planning).unwrap().effect(of("behind")).await.unwrap());
    let plan = noted.lock().unwrap().clone();
    let running = gate(Mode::Execute, Agreement::Held(plan));
    assert_eq!(running.left_of_plan().len(), 3);
    drop(maintain(&running).unwrap().effect(of("before")).await.unwrap());
    assert!(maintain(&running).unwrap().effect(of("behind")).await.is_err(), "nothing would undo it");
    assert_eq!(running.left_of_plan().len(), 2);
    assert!(!running.list_in_plan("run", "run.compensation", of("undo")).await.unwrap());
    drop(maintain(&running).unwrap().effect(of("behind")).await.unwrap());
    assert_eq!(running.left_of_plan(), Vec::<String>::new());
    assert_eq!(gate(Mode::Execute, Agreement::None).left_of_plan(), Vec::<String>::new());
}

#[test]
fn denials_are_counted_beyond_what_is_kept() {
    let (gate, _) = executing(&[]);
    for n in 0..1000 {
        let _ = gate.authorise::<Sql>("sql.open", &format!("slot-{n}"), &[]);
    }
    let (kept, count) = gate.denials();
    assert_eq!((kept.len(), count), (100, 1000));
}

#[tokio::test]
async fn an_effect_is_on_record_before_it_may_happen_and_with_its_outcome_after() {
    let (gate, ledger) = executing(&["read", "maintain"]);
    let Decision::Perform(permit) = maintain(&gate).unwrap().effect(effect()).await.unwrap() else { panic!("planned") };
    let before = ledger.effects();
    assert_eq!((before.len(), before[0].sequence, &before[0].outcome), (1, 1, &None));
    assert_eq!(before[0].record.target, "kosmos: public.orders");
    assert_eq!(before[0].record.access, "maintain");
    permit.finish(Outcome::Done("0 rows".into())).await.unwrap();
    assert_eq!(ledger.effects()[0].outcome, Some(Outcome::Done("0 rows".into())));
}

#[tokio::test]
async fn a_permit_that_is_dropped_leaves_interrupted_never_done() {
    let (gate, ledger) = executing(&["maintain"]);
    let decision = maintain(&gate).unwrap().effect(effect()).await.unwrap();
    drop(decision);
    assert_eq!(ledger.effects()[0].outcome, Some(Outcome::Interrupted));
}

#[tokio::test]
async fn a_plan_lists_and_gives_no_permit() {
    let ledger = Arc::new(MemoryLedger::default());
    let gate = gate(Mode::Plan, Quotas::default(), ledger.clone(), &["maintain"]);
    assert!(matches!(maintain(&gate).unwrap().effect(effect()).await.unwrap(), Decision::Planned));
    let effects = ledger.effects();
    assert!(effects[0].record.planned);
    assert_eq!(effects[0].outcome, Some(Outcome::Planned));
}

#[tokio::test]
async fn a_plan_is_denied_what_a_run_would_be_denied() {
    let ledger = Arc::new(MemoryLedger::default());
    let gate = gate(Mode::Plan, Quotas::default(), ledger.clone(), &["read"]);
    assert!(maintain(&gate).is_err());
    assert!(ledger.effects().is_empty());
}

#[tokio::test]
async fn effects_beyond_the_quota_are_refused_and_not_recorded() {
    let ledger = Arc::new(MemoryLedger::default());
    let gate = gate(Mode::Execute, Quotas { effects: 1 }, ledger.clone(), &["maintain"]);
    let first = maintain(&gate).unwrap().effect(effect()).await;
    assert!(first.is_ok());
    assert!(matches!(maintain(&gate).unwrap().effect(effect()).await, Err(EffectRefused::Quota { limit: 1 })));
    assert_eq!(ledger.effects().len(), 1);
}

#[tokio::test]
async fn a_closed_gate_lets_no_effect_begin_and_records_none() {
    let ledger = Arc::new(MemoryLedger::default());
    let gate = gate(Mode::Execute, Quotas::default(), ledger.clone(), &["maintain"]);
    let before = maintain(&gate).unwrap();
    assert!(before.effect(effect()).await.is_ok());
    gate.close();
    // Also by a token that was had before.
    assert!(matches!(before.effect(effect()).await, Err(EffectRefused::Stopped)));
    assert!(matches!(maintain(&gate).unwrap().effect(effect()).await, Err(EffectRefused::Stopped)));
    assert_eq!(ledger.effects().len(), 1);
}

/// A ledger that cannot write: a full disk.
struct Full;

#[async_trait]
impl Ledger for Full {
    async fn begin(&self, _: EffectRecord) -> Result<u64, LedgerError> {
        Err(LedgerError::Other("the disk is full".into()))
    }
    async fn finish(&self, _: u64, _: Outcome) -> Result<(), LedgerError> {
        Ok(())
    }
    fn interrupted(&self, _: u64) {}
}

#[tokio::test]
async fn without_a_record_there_is_no_effect() {
    let gate = gate(Mode::Execute, Quotas::default(), Arc::new(Full), &["maintain"]);
    let refused = maintain(&gate).unwrap().effect(effect()).await.err().unwrap();
    assert!(refused.to_string().contains("not performed"), "{refused}");
}
