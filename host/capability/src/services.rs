//! What all runs of a host share, found by type.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

/// Values that capabilities provide at start, one of each type.
#[derive(Default)]
pub struct Services(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl Services {
    /// Provide a value; a second one of the type replaces the first.
    pub fn provide<S: Send + Sync + 'static>(&mut self, service: S) {
        self.0.insert(TypeId::of::<S>(), Arc::new(service));
    }

    /// The value of a type, when a capability provided it.
    pub fn get<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        self.0.get(&TypeId::of::<S>()).cloned().and_then(|any| any.downcast().ok())
    }
}
