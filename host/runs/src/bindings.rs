//! What `--bind` and jobs may put into a slot: a configured binding, a URL, or a program's path.

use crate::prepare::nearest;
use crate::settings::Settings;
use rota_config::{BindArgument, Binding};
use rota_contract::reports::Slot;

pub(crate) struct Bindings<'s> {
    settings: &'s Settings,
}

impl<'s> Bindings<'s> {
    pub(crate) fn new(settings: &'s Settings) -> Self {
        Self { settings }
    }

    /// The binding that a text names, and the name under which it is shown.
    pub(crate) fn find(&self, slot: &Slot, text: &str) -> Result<(String, Binding), String> {
        let (name, binding) = match self.settings.bindings.get(text) {
            Some(binding) => (text.to_owned(), binding.clone()),
            None => match BindArgument::parse(text) {
                Ok(BindArgument::AdHoc(binding)) => (slot.name.clone(), *binding),
                Ok(BindArgument::Configured(_)) => return Err(self.unknown(text)),
                Err(error) => return Err(error.to_string()),
            },
        };
        self.is_free(&name)?;
        fits(slot, &name, &binding)?;
        Ok((name, binding))
    }

    /// Files that runs keep are out of reach of runs.
    fn is_free(&self, name: &str) -> Result<(), String> {
        if self.settings.artifacts.as_deref() == Some(name) {
            return Err(format!(
                "the binding `{name}` is for the files that runs keep (store.artifacts), which no run may reach; configure another, with another prefix"
            ));
        }
        Ok(())
    }

    /// A configured binding, and nothing else.
    pub(crate) fn configured(&self, slot: &Slot, name: &str) -> Result<(String, Binding), String> {
        let binding = self.settings.bindings.get(name).ok_or_else(|| self.unknown(name))?;
        self.is_free(name)?;
        fits(slot, name, binding)?;
        Ok((name.to_owned(), binding.clone()))
    }

    fn unknown(&self, text: &str) -> String {
        let known: Vec<&str> = self.settings.bindings.keys().map(String::as_str).collect();
        let nearest =
            nearest(text, known.iter().copied()).map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
        let configured = if known.is_empty() {
            "none is configured".to_owned()
        } else {
            format!("configured are: {}", known.join(", "))
        };
        format!(
            "there is no binding `{}`{nearest}; {configured}; a URL (postgres://..., redis://..., file:///..., s3://..., kubernetes:///...) or an absolute program path serves too",
            without_secret(text)
        )
    }

    /// What could be put into a slot, for a hint.
    pub(crate) fn example(&self, slot: &Slot) -> String {
        if let Some((name, _)) = self.settings.bindings.iter().find(|(_, binding)| kind(binding) == slot.capability) {
            return name.clone();
        }
        match slot.capability.as_str() {
            "sql" => "postgres://USER:PASSWORD@HOST/DATABASE".into(),
            "storage" => "file:///FOLDER".into(),
            "cache" => "redis://HOST:6379".into(),
            "jetstream" => "nats://HOST:4222".into(),
            "kubernetes" => "kubernetes:///PATH/OF/KUBECONFIG".into(),
            "tool" => program(&slot.name).unwrap_or_else(|| format!("/path/of/{}", slot.name)),
            _ => "BINDING".into(),
        }
    }
}

/// Whether a binding is of the kind that a slot needs.
fn fits(slot: &Slot, name: &str, binding: &Binding) -> Result<(), String> {
    let kind = kind(binding);
    if kind == slot.capability {
        return Ok(());
    }
    Err(format!("the plugin needs a {} binding, and `{name}` is of kind {kind}", slot.capability))
}

/// A program of that name where such programs usually are, for a hint only: nothing is run because it was found.
fn program(name: &str) -> Option<String> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_absolute() && path.is_file())
        .map(|path| path.display().to_string())
}

/// The word of a binding's kind.
pub(crate) fn kind(binding: &Binding) -> &'static str {
    match binding {
        Binding::Sql(_) => "sql",
        Binding::Storage(_) => "storage",
        Binding::Tool(_) => "tool",
        Binding::Key(_) => "key",
        Binding::Cache(_) => "cache",
        Binding::Jetstream(_) => "jetstream",
        Binding::Kubernetes(_) => "kubernetes",
    }
}

/// An argument as it may be echoed: what could hold a password is left out.
pub(crate) fn without_secret(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://..."),
        None if text.contains('@') || text.contains("password") => "... (not shown: it may hold a password)".into(),
        None => text.chars().filter(|c| !c.is_control()).take(80).collect(),
    }
}
