//! What the tests share: a gate with one cache binding, granted everything, and the client for it.
#![allow(dead_code, unreachable_pub)]

use rota_authority::{
    Authorized, Cache, CacheAccess, Decision, Effect, EffectClass, Gate, Grant, MemoryLedger, Mode, Permit, Quotas,
    RunIdentity,
};
use rota_capability_cache::wit::{Pattern as WitPattern, UnlinkOptions, UnlinkProgress};
use rota_capability_cache::{Client, Keys, Matching, Pattern};
use rota_config::{Binding, CacheBinding, Duration as Setting};
use rota_contract::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

pub const LONG: Duration = Duration::from_secs(20);

pub fn binding(url: &str) -> CacheBinding {
    match Binding::parse_ad_hoc(url).unwrap() {
        Binding::Cache(binding) => {
            let short = Setting::from_millis(1_500);
            CacheBinding { connect_timeout: short, command_timeout: short, ..binding }
        }
        other => panic!("{other:?}"),
    }
}

pub struct Bench {
    pub gate: Arc<Gate>,
    pub ledger: Arc<MemoryLedger>,
    pub client: Client,
    pub binding: CacheBinding,
}

impl Bench {
    pub async fn open(binding: CacheBinding) -> Result<Self, Error> {
        let ledger = Arc::new(MemoryLedger::default());
        let grant = Grant {
            slot: "cache".into(),
            binding_name: "dragonfly".into(),
            binding: Binding::Cache(binding.clone()),
            accesses: ["read", "write", "delete", "debug"].map(str::to_owned).into(),
        };
        let identity = RunIdentity { run: "run".into(), job: "job".into() };
        let gate = Gate::new(identity, Mode::Execute, Quotas::default(), ledger.clone(), [grant]);
        let client = Client::connect(&gate.authorise("cache.open", "cache", &[]).unwrap()).await?;
        Ok(Self { gate, ledger, client, binding })
    }

    pub async fn at(url: &str) -> Self {
        Self::open(binding(url)).await.unwrap()
    }

    pub fn token(&self, access: CacheAccess) -> Authorized<Cache> {
        self.gate.authorise("cache.test", "cache", &[access]).unwrap()
    }

    pub fn reads(&self) -> Authorized<Cache> {
        self.token(CacheAccess::Read)
    }

    pub async fn permit(&self, access: CacheAccess) -> Permit<Cache> {
        let effect = Effect {
            object: String::new(),
            detail: "x".into(),
            class: EffectClass::Write,
            exact: rota_authority::Exact::shown(),
        };
        match self.token(access).effect(effect).await.unwrap() {
            Decision::Perform(permit) => permit,
            Decision::Planned => panic!("planned"),
        }
    }

    pub async fn scan(&self, pattern: WitPattern) -> Result<Vec<Vec<u8>>, Error> {
        let found = self.client.scan(&self.reads(), Pattern::parse(&pattern).unwrap()).await?;
        collect(found).await
    }

    /// Find and unlink.
    pub async fn unlink_matching(&self, options: &UnlinkOptions) -> Result<UnlinkProgress, Error> {
        let (progress, _reports) = mpsc::channel(1);
        let matching = Matching::parse(options, &self.binding)?;
        let found = self.client.find(&self.token(CacheAccess::Delete), &matching, progress.clone()).await?;
        let permit = self.permit(CacheAccess::Delete).await;
        let result = self.client.unlink_found(&permit, &matching, found, progress).await;
        permit.conclude(result, |done| format!("{} unlinked", done.unlinked)).await
    }
}

pub async fn collect(mut found: Keys) -> Result<Vec<Vec<u8>>, Error> {
    let mut keys = Vec::new();
    while let Some(key) = found.keys.recv().await {
        keys.push(key?);
    }
    keys.sort();
    Ok(keys)
}

pub fn prefix(prefix: &[u8]) -> WitPattern {
    WitPattern::Prefix(prefix.to_vec())
}

pub fn glob(glob: &[u8]) -> WitPattern {
    WitPattern::Glob(glob.to_vec())
}

pub fn options(pattern: WitPattern) -> UnlinkOptions {
    UnlinkOptions {
        pattern,
        maximum_keys: 1_000_000,
        minimum_literal: 3,
        protected: Vec::new(),
        expected: None,
        drift_percent: 0,
        batch: 500,
        keys_per_second: None,
        drain_above: None,
    }
}

/// SET of many keys, `user:0` ...
pub fn sets(prefix: &str, count: usize) -> impl Iterator<Item = Vec<Vec<u8>>> {
    let prefix = prefix.to_owned();
    (0..count).map(move |n| vec![b"SET".to_vec(), format!("{prefix}{n}").into_bytes(), b"x".to_vec()])
}
