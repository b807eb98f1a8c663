//! The words for what a slot may be granted, by the kind of its binding.

use crate::section::words;

words! {
    /// An access: what a grant allows on a binding.
    pub enum Access ("an access") {
        /// Look: SELECT; get, list and stat of objects; keys and state of a cache; logs of pods; state of streams.
        Read = "read",
        /// Change data: INSERT, UPDATE, DELETE; put an object; set a key; create and patch what a cluster has.
        Write = "write",
        /// Remove objects or keys.
        Delete = "delete",
        /// VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT.
        Maintain = "maintain",
        /// CREATE, ALTER and DROP INDEX.
        Index = "index",
        /// Any other change of definitions.
        Ddl = "ddl",
        /// Cancel and terminate backends.
        Signal = "signal",
        /// Make a standby the primary.
        Promote = "promote",
        /// COPY TO a stream.
        CopyOut = "copy-out",
        /// COPY FROM a stream.
        CopyIn = "copy-in",
        /// ALTER SYSTEM SET and RESET of the parameters that the binding names, and having the server read its files again.
        AlterSystem = "alter-system",
        /// Run a declared program, or a job in a cluster.
        Run = "run",
        /// Decrypt with an age identity, in the host.
        Decrypt = "decrypt",
        /// Watch the commands of others on a cache as they come, at a cost to its server.
        Debug = "debug",
        /// Set replicas, and restart rollouts.
        Scale = "scale",
        /// Run commands in pods.
        Exec = "exec",
        /// See and set the values of Secrets.
        Secrets = "secrets",
    }
}

impl Access {
    /// Whether it maintains a database, changes its structure or settings or promotes it: a run with it has its target to itself, unless its job says otherwise. Deleting objects of a bucket is not among them: backups of several databases share one.
    pub fn is_exclusive(self) -> bool {
        matches!(self, Self::Maintain | Self::Index | Self::Ddl | Self::Promote | Self::AlterSystem)
    }

    /// Whether it reaches a server, a bucket or a folder.
    pub fn has_target(self) -> bool {
        !matches!(self, Self::Run | Self::Decrypt)
    }
}

words! {
    /// What a binding connects to, which decides the accesses that there are.
    pub enum BindingKind ("a kind of binding") {
        /// A PostgreSQL server.
        Sql = "sql",
        /// A bucket or a folder.
        Storage = "storage",
        /// A program.
        Tool = "tool",
        /// An age identity.
        Key = "key",
        /// A cache that speaks RESP.
        Cache = "cache",
        /// A Kubernetes cluster.
        Kubernetes = "kubernetes",
        /// NATS JetStream.
        Jetstream = "jetstream",
    }
}

impl BindingKind {
    /// The accesses that a grant on a binding of this kind can name.
    pub fn accesses(self) -> &'static [Access] {
        match self {
            Self::Sql => &[
                Access::Read,
                Access::Write,
                Access::Maintain,
                Access::Index,
                Access::Ddl,
                Access::Signal,
                Access::Promote,
                Access::CopyOut,
                Access::CopyIn,
                Access::AlterSystem,
            ],
            Self::Storage => &[Access::Read, Access::Write, Access::Delete],
            Self::Tool => &[Access::Run],
            Self::Key => &[Access::Decrypt],
            Self::Cache => &[Access::Read, Access::Write, Access::Delete, Access::Debug],
            Self::Kubernetes => &[
                Access::Read,
                Access::Write,
                Access::Delete,
                Access::Scale,
                Access::Exec,
                Access::Run,
                Access::Secrets,
            ],
            Self::Jetstream => &[Access::Read],
        }
    }

    /// The same as words.
    pub fn access_words(self) -> Vec<&'static str> {
        self.accesses().iter().map(|access| access.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_access_belongs_to_a_kind() {
        for access in Access::ALL {
            assert!(BindingKind::ALL.iter().any(|kind| kind.accesses().contains(access)), "{access}");
            assert_eq!(access.as_str().parse(), Ok(*access));
        }
    }

    #[test]
    fn an_unknown_access_names_the_nearest() {
        let unknown = "maintian".parse::<Access>().unwrap_err();
        assert_eq!(
            (unknown.to_string().as_str(), unknown.advice()),
            ("\"maintian\" is not an access", "did you mean \"maintain\"?")
        );
    }
}
