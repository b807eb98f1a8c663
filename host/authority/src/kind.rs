//! The kinds of binding, each with its own access words.

use rota_classifier::SqlAccess;
use rota_config::{
    Binding, CacheBinding, JetstreamBinding, KeyBinding, KubernetesBinding, SqlBinding, StorageBinding, ToolBinding,
};
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// An access word of one kind of binding.
pub trait Access: Copy + Eq + Debug + Display + FromStr + Send + Sync + 'static {
    /// All words of the kind, in the order in which they are shown.
    const ALL: &'static [Self];

    /// Whether the access can only read. On a slot that no `--grant` names a run gets these and no others.
    fn only_reads(self) -> bool;
}

/// A kind of binding: its words, its settings, and how they are found in a configured [`Binding`].
pub trait Kind: Send + Sync + 'static {
    /// Its access words.
    type Access: Access;
    /// What the operator configured.
    type Settings: Send + Sync + 'static;
    /// The capability's name in descriptors and messages.
    const CAPABILITY: &'static str;
    /// The settings, when the binding is of this kind.
    fn settings(binding: &Binding) -> Option<&Self::Settings>;
}

macro_rules! access_words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal, reads $reads:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = ();
            fn from_str(word: &str) -> Result<Self, ()> {
                match word { $($word => Ok(Self::$variant),)+ _ => Err(()) }
            }
        }

        impl Access for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            fn only_reads(self) -> bool { match self { $(Self::$variant => $reads),+ } }
        }
    };
}

access_words! {
    /// What can be done with a bucket.
    StorageAccess {
        /// List, stat and get.
        Read = "read", reads true;
        /// Put.
        Write = "write", reads false;
        /// Delete.
        Delete = "delete", reads false;
    }
}

access_words! {
    /// What can be done with a declared program.
    ToolAccess {
        /// Start it, with arguments that its profile allows.
        Run = "run", reads false;
    }
}

access_words! {
    /// What can be done with an age identity.
    KeyAccess {
        /// Decrypt a stream in the host. Nobody has it without being named: it changes nothing, and yet is no mere look.
        Decrypt = "decrypt", reads false;
    }
}

access_words! {
    /// What can be done with a cache.
    CacheAccess {
        /// Keys, values, the server's state and its slow commands.
        Read = "read", reads true;
        /// Set keys, fields and lifetimes.
        Write = "write", reads false;
        /// Unlink keys, remove fields.
        Delete = "delete", reads false;
        /// Commands of others as they come, at a cost to the server.
        Debug = "debug", reads false;
    }
}

access_words! {
    /// What can be done with a cluster.
    KubernetesAccess {
        /// Get, list, watch, logs, events; of Secrets without their values.
        Read = "read", reads true;
        /// Create, patch, lock.
        Write = "write", reads false;
        /// Delete.
        Delete = "delete", reads false;
        /// Set replicas, restart rollouts.
        Scale = "scale", reads false;
        /// Run a command in a pod.
        Exec = "exec", reads false;
        /// Run a job.
        Run = "run", reads false;
        /// See and set the values of Secrets. Nobody has it without being named: it only reads, and yet is no mere look.
        Secrets = "secrets", reads false;
    }
}

access_words! {
    /// What can be done with JetStream.
    JetstreamAccess {
        /// The state of servers, accounts, streams and consumers.
        Read = "read", reads true;
    }
}

impl Access for SqlAccess {
    const ALL: &'static [Self] = &SqlAccess::ALL;
    fn only_reads(self) -> bool {
        matches!(self, SqlAccess::Read)
    }
}

macro_rules! kind {
    ($(#[$doc:meta])* $name:ident, $access:ty, $settings:ty, $variant:ident, $capability:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl Kind for $name {
            type Access = $access;
            type Settings = $settings;
            const CAPABILITY: &'static str = $capability;
            fn settings(binding: &Binding) -> Option<&Self::Settings> {
                match binding { Binding::$variant(settings) => Some(settings), _ => None }
            }
        }
    };
}

kind!(
    /// PostgreSQL.
    Sql, SqlAccess, SqlBinding, Sql, "sql"
);
kind!(
    /// Object storage.
    Storage, StorageAccess, StorageBinding, Storage, "storage"
);
kind!(
    /// A declared program.
    Tool, ToolAccess, ToolBinding, Tool, "tool"
);
kind!(
    /// An age identity.
    Key, KeyAccess, KeyBinding, Key, "key"
);
kind!(
    /// A cache.
    Cache, CacheAccess, CacheBinding, Cache, "cache"
);
kind!(
    /// A Kubernetes cluster.
    Kubernetes, KubernetesAccess, KubernetesBinding, Kubernetes, "kubernetes"
);
kind!(
    /// NATS JetStream.
    Jetstream, JetstreamAccess, JetstreamBinding, Jetstream, "jetstream"
);
