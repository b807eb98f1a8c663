//! `rota.lock`: which build of a plugin a reference means. What it says is what runs, until somebody updates, pins or rolls back.

use crate::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The version of the file's form.
const FORM: u32 = 1;
/// How many builds before the locked one are kept, to go back to without a registry.
pub const PREVIOUS: usize = 5;
/// The most entries that a lock has.
const MOST: usize = 10_000;

/// All that is locked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    version: u32,
    /// The entries, by reference.
    #[serde(default, rename = "plugin", skip_serializing_if = "Vec::is_empty")]
    entries: Vec<Entry>,
}

/// What one reference means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// As jobs and people write it: `registry.example/growth/expired-sessions@1`, or `expired-sessions@1` of the plugin folder.
    pub reference: String,
    /// The plugin's own name.
    pub name: String,
    /// Whether `rota plugins update` without a name leaves it as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Of a plugin of the folder: whether it runs as it was kept here, whatever lies in the folder now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// What it means.
    #[serde(flatten)]
    pub build: Build,
    /// What it meant before, the last first; at most [`PREVIOUS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<Build>,
}

/// A build of a plugin: exactly these bytes, and what they ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Build {
    /// The version that the plugin says it is.
    pub version: String,
    /// The component's digest.
    pub component: Digest,
    /// The component's size, bytes.
    pub size: u64,
    /// The manifest's digest in its registry; none for a plugin of the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// When it was locked, RFC 3339.
    pub locked: String,
    /// Who signed it, as the rules of trust found then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// The signatures that came with it, by their digests in the cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bundles: Vec<Digest>,
    /// observe, change or destroy.
    pub risk: String,
    /// The word that must be typed before it executes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<String>,
    /// The interfaces that it imports.
    #[serde(default)]
    pub imports: Vec<String>,
    /// Its parameters: `days: integer`, `(needed)` after those without which it does not run.
    #[serde(default)]
    pub parameters: Vec<String>,
    /// What it asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<LockedSlot>,
}

/// A slot of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LockedSlot {
    /// Its name.
    pub name: String,
    /// Its capability.
    pub capability: String,
    /// The accesses that it asks for.
    pub accesses: Vec<String>,
    /// Whether the plugin runs without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl Default for Lock {
    fn default() -> Self {
        Self { version: FORM, entries: Vec::new() }
    }
}

impl Lock {
    /// Read one.
    ///
    /// # Errors
    /// What is wrong with it, in a line.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Form {
            version: u32,
        }
        let said = |error: toml::de::Error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            format!("{place}{}", crate::answer::shown(error.message()))
        };
        let form: Form = toml::from_str(text).map_err(said)?;
        if form.version != FORM {
            return Err(format!("it is of the form {}, and this version of rota reads the form {FORM}", form.version));
        }
        let lock: Self = toml::from_str(text).map_err(said)?;
        if lock.entries.len() > MOST {
            return Err(format!("it has {} entries; at most {MOST} are read", lock.entries.len()));
        }
        let mut seen = BTreeSet::new();
        match lock.entries.iter().find(|entry| !seen.insert(&entry.reference)) {
            Some(twice) => Err(format!("`{}` is locked twice", crate::answer::shown(&twice.reference))),
            None => Ok(lock),
        }
    }

    /// As it is written.
    ///
    /// # Errors
    /// Never for what [`Lock::from_toml`] gave; kept because the writer of TOML has one.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        const HEAD: &str = "# Which build of a plugin each reference means. Written by `rota plugins`; keep it with the configuration.\n\n";
        Ok(format!("{HEAD}{}", toml::to_string(self)?))
    }

    /// All entries, by reference.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What a reference means.
    pub fn get(&self, reference: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.reference == reference)
    }

    /// The entries that a person means: by reference, by the plugin's name, or by `registry/repository`.
    pub fn named(&self, name: &str) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| entry.is_named(name)).collect()
    }

    /// Have a reference mean something; what it meant before is kept to go back to.
    pub fn set(&mut self, reference: &str, name: &str, build: Build) -> &mut Entry {
        let place = self.entries.iter().position(|entry| entry.reference == reference).unwrap_or_else(|| {
            let place = self.entries.partition_point(|entry| entry.reference.as_str() < reference);
            let entry = Entry {
                reference: reference.into(),
                name: name.into(),
                pinned: false,
                kept: false,
                build: build.clone(),
                previous: Vec::new(),
            };
            self.entries.insert(place, entry);
            place
        });
        let entry = &mut self.entries[place];
        entry.name = name.into();
        if entry.build.component != build.component || entry.build.manifest != build.manifest {
            let before = std::mem::replace(&mut entry.build, build);
            let now = entry.build.component.clone();
            entry.previous.retain(|one| one.component != before.component && one.component != now);
            entry.previous.insert(0, before);
            entry.previous.truncate(PREVIOUS);
        } else {
            entry.build = build;
        }
        entry
    }

    /// Forget what a reference means.
    pub fn remove(&mut self, reference: &str) -> Option<Entry> {
        let place = self.entries.iter().position(|entry| entry.reference == reference)?;
        Some(self.entries.remove(place))
    }

    /// Change an entry in place.
    pub fn get_mut(&mut self, reference: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.reference == reference)
    }

    /// The build of a component, and whose it is: locked, or before.
    pub fn build_of(&self, component: &str) -> Option<(&Entry, &Build)> {
        self.entries.iter().find_map(|entry| {
            let builds = std::iter::once(&entry.build).chain(&entry.previous);
            builds.into_iter().find(|build| build.component.hex() == component).map(|build| (entry, build))
        })
    }

    /// All that the cache must keep.
    pub fn needed(&self) -> BTreeSet<Digest> {
        let builds = self.entries.iter().flat_map(|entry| std::iter::once(&entry.build).chain(&entry.previous));
        let all = builds.flat_map(|build| {
            let of = [Some(&build.component), build.manifest.as_ref()];
            of.into_iter().flatten().chain(&build.bundles)
        });
        all.cloned().collect()
    }
}

impl Entry {
    /// Whether a person who writes this means it.
    pub fn is_named(&self, name: &str) -> bool {
        let package = self.reference.parse::<crate::PackageRef>().ok();
        self.reference == name || self.name == name || package.is_some_and(|package| package.name() == name)
    }

    /// Whether it comes out of a registry.
    pub fn is_package(&self) -> bool {
        self.build.manifest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(version: &str) -> Build {
        Build {
            version: version.into(),
            component: Digest::of(version.as_bytes()),
            size: 7,
            manifest: Some(Digest::of(format!("manifest {version}").as_bytes())),
            locked: "2026-11-27T00:00:00Z".into(),
            signer: None,
            bundles: Vec::new(),
            risk: "change".into(),
            confirmation: None,
            imports: vec!["sql".into()],
            parameters: vec!["days: integer".into()],
            slots: vec![LockedSlot {
                name: "database".into(),
                capability: "sql".into(),
                accesses: vec!["read".into()],
                optional: false,
            }],
        }
    }

    const REFERENCE: &str = "registry.example/growth/expired-sessions@1";

    #[test]
    fn written_and_read_again() {
        let mut lock = Lock::default();
        lock.set(REFERENCE, "expired-sessions", build("1.0.0"));
        lock.set("a.example/x", "x", build("2.0.0"));
        lock.set(REFERENCE, "expired-sessions", build("1.1.0")).pinned = true;
        let text = lock.to_toml().unwrap();
        assert_eq!(Lock::from_toml(&text).unwrap(), lock, "{text}");
        assert_eq!(lock.entries()[0].reference, "a.example/x", "in order, so that a difference shows what changed");
        assert!(!text.contains("kept = "), "{text}");
    }

    #[test]
    fn what_it_meant_before_is_kept_bounded_and_once() {
        let mut lock = Lock::default();
        for minor in 0..9 {
            lock.set(REFERENCE, "x", build(&format!("1.{minor}.0")));
        }
        lock.set(REFERENCE, "x", build("1.7.0"));
        let entry = lock.get(REFERENCE).unwrap();
        let versions: Vec<&str> = entry.previous.iter().map(|build| build.version.as_str()).collect();
        assert_eq!(
            (entry.build.version.as_str(), versions),
            ("1.7.0", vec!["1.8.0", "1.6.0", "1.5.0", "1.4.0", "1.3.0"])
        );
        let (_, old) = lock.build_of(build("1.4.0").component.hex()).unwrap();
        assert_eq!(old.version, "1.4.0");
        assert_eq!(lock.needed().len(), 12, "a component and a manifest each");
    }

    #[test]
    fn who_is_meant() {
        let mut lock = Lock::default();
        lock.set(REFERENCE, "expired-sessions", build("1.0.0"));
        lock.set("registry.example/growth/expired-sessions@2", "expired-sessions", build("2.0.0"));
        for (name, many) in [
            (REFERENCE, 1),
            ("expired-sessions", 2),
            ("registry.example/growth/expired-sessions", 2),
            ("registry.example/growth/expired-sessions@3", 0),
            ("sessions", 0),
        ] {
            assert_eq!(lock.named(name).len(), many, "{name}");
        }
    }

    #[test]
    fn what_is_damaged_is_said_with_its_line() {
        for (text, said) in [
            ("", "missing field `version`"),
            ("version = 2", "of the form 2"),
            ("version = 1\n[[plugin]]\nreference = 'x'\n", "missing field"),
            ("version = 1\nplugin = \"\u{1b}[31m\"\n", "line 2"),
            ("version = 1\n<<<<<<< ours\n", "line 2"),
        ] {
            let error = Lock::from_toml(text).unwrap_err();
            assert!(error.contains(said) && !error.contains('\u{1b}'), "{error}");
        }
        let mut lock = Lock::default();
        lock.set(REFERENCE, "x", build("1.0.0"));
        let twice = lock.to_toml().unwrap().replacen("version = 1\n", "", 1);
        let twice = format!("version = 1\n{twice}\n{}", &twice[twice.find("[[plugin]]").unwrap()..]);
        assert!(Lock::from_toml(&twice).unwrap_err().contains("locked twice"));
    }
}
