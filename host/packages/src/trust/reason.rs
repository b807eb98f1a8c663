//! Why a plugin is refused.

/// A plugin that may not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not trusted: {reason} ([trust.\"{namespace}\"] is for it)")]
pub struct Untrusted {
    /// Its name, as rules hold it.
    pub name: String,
    /// The rule that refused it.
    pub namespace: String,
    /// Why.
    pub reason: Reason,
}

/// Why a signature, or that there is none, is not enough.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is none.
    #[error("it has no signature, and needs one of {wanted}; sign it: rota plugins sign")]
    Unsigned {
        /// Whose would do.
        wanted: String,
    },
    /// Somebody else's.
    #[error("it is signed by {found}, and only {wanted} is taken")]
    WrongSigner {
        /// Whose it is, as far as it says.
        found: String,
        /// Whose would do.
        wanted: String,
    },
    /// It was made for something else.
    #[error("its signature is over other bytes: {signed} was signed, and this is {here}")]
    OtherBytes {
        /// What was signed.
        signed: String,
        /// What is here.
        here: String,
    },
    /// The manifest is signed, and does not name the component.
    #[error("its signed manifest does not hold this component ({here})")]
    OtherComponent {
        /// What is here.
        here: String,
    },
    /// Changed after it was made, or never valid.
    #[error("its signature does not verify: {detail}")]
    Broken {
        /// What does not.
        detail: String,
    },
    /// A statement about the plugin that says something else than that it is released.
    #[error(
        "what is signed is a statement of the kind {kind}, which is no signature; cosign sign and rota plugins sign make one"
    )]
    NotASignature {
        /// Its predicate type.
        kind: String,
    },
    /// Signed when the certificate was no longer valid.
    #[error("its certificate was not valid any more when it signed: valid until {until}{}", at(.time))]
    Expired {
        /// The certificate's end.
        until: String,
        /// When it signed.
        time: Option<String>,
    },
    /// Signed when the certificate was not yet valid.
    #[error("its certificate was not valid yet when it signed: valid from {from}{}", at(.time))]
    Early {
        /// The certificate's begin.
        from: String,
        /// When it signed.
        time: Option<String>,
    },
    /// By an authority that the trust root does not name.
    #[error("its certificate is of no authority of the trust root: {detail}")]
    Authority {
        /// What the chain lacks.
        detail: String,
    },
    /// No proof that a log has it.
    #[error("there is no proof that a transparency log of the trust root holds it: {detail}")]
    NotLogged {
        /// What is missing or wrong.
        detail: String,
    },
    /// Nobody vouches for when it was made.
    #[error("no log or timestamp authority of the trust root says when it was made: {detail}")]
    NoTime {
        /// What is missing or wrong.
        detail: String,
    },
    /// No bundle at all.
    #[error("its bundle cannot be read: {detail}")]
    Malformed {
        /// Why.
        detail: String,
    },
    /// Larger than a bundle can be.
    #[error("its bundle is larger than 1 MiB, which no bundle is")]
    TooLarge,
    /// So many that looking at them all would be an attack's work.
    #[error(
        "it has {count} bundles, more than the 32 that are looked at; remove those that are not needed from the registry"
    )]
    TooMany {
        /// How many.
        count: usize,
    },
    /// The rule itself cannot be applied.
    #[error("the rule for it cannot be applied: {detail}")]
    Unready {
        /// Which of its files, and why.
        detail: String,
    },
}

fn at(time: &Option<String>) -> String {
    time.as_ref().map(|time| format!(", signed at {time}")).unwrap_or_default()
}

impl Reason {
    /// One word for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unsigned { .. } => "unsigned",
            Self::WrongSigner { .. } => "wrong-signer",
            Self::OtherBytes { .. } => "other-bytes",
            Self::OtherComponent { .. } => "other-component",
            Self::Broken { .. } => "broken",
            Self::NotASignature { .. } => "not-a-signature",
            Self::Expired { .. } => "expired",
            Self::Early { .. } => "early",
            Self::Authority { .. } => "authority",
            Self::NotLogged { .. } => "not-logged",
            Self::NoTime { .. } => "no-time",
            Self::Malformed { .. } => "malformed",
            Self::TooLarge => "too-large",
            Self::TooMany { .. } => "too-many",
            Self::Unready { .. } => "unready",
        }
    }

    /// Of several bundles and signers, each with its reason, the one that came nearest is told: the higher, the nearer.
    pub(super) fn nearness(&self) -> u8 {
        match self {
            Self::Unsigned { .. } => 0,
            Self::TooMany { .. } | Self::TooLarge | Self::Malformed { .. } => 1,
            Self::NotASignature { .. } => 2,
            Self::WrongSigner { .. } => 3,
            Self::OtherBytes { .. } | Self::OtherComponent { .. } => 4,
            Self::Unready { .. } => 5,
            Self::Authority { .. } => 6,
            Self::NoTime { .. } | Self::NotLogged { .. } => 7,
            Self::Expired { .. } | Self::Early { .. } => 8,
            // The right signer's, over these bytes, and changed.
            Self::Broken { .. } => 9,
        }
    }
}

/// A text of a bundle, for a message: of one line, masked, not too long.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let text = rota_telemetry::clean_line(text);
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
