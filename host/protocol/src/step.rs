//! Durable steps: what one answers when it is begun, for the first time or again.

/// What is on record of a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StepState {
    /// Begun in an attempt, and not completed.
    Begun {
        /// The attempt.
        attempt: u32,
    },
    /// Completed, with this result.
    Completed {
        /// JSON.
        result: String,
    },
}

/// What a procedure is told that begins a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StepBegin {
    /// Nobody did it before.
    Fresh,
    /// It was completed before: this was its result, and it is not to be done again.
    Done(String),
    /// An earlier attempt began it, and whether its effects happened must be looked up.
    InDoubt,
    /// This attempt has begun it already.
    Busy,
}

/// The completion of a step is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StepRefused {
    /// This attempt has not begun it.
    #[error("the step was not begun in this attempt")]
    NotBegun,
    /// It is completed already: the first result stays.
    #[error("the step is completed already")]
    Completed,
}

/// What a step answers that is begun in an attempt.
#[must_use]
pub fn begin(on_record: Option<&StepState>, attempt: u32) -> StepBegin {
    match on_record {
        None => StepBegin::Fresh,
        Some(StepState::Completed { result }) => StepBegin::Done(result.clone()),
        Some(StepState::Begun { attempt: before }) if *before == attempt => StepBegin::Busy,
        Some(StepState::Begun { .. }) => StepBegin::InDoubt,
    }
}

/// What is on record of a step after it was begun in an attempt, whatever it answered.
#[must_use]
pub fn begun(on_record: Option<StepState>, attempt: u32) -> StepState {
    match on_record {
        Some(completed @ StepState::Completed { .. }) => completed,
        _ => StepState::Begun { attempt },
    }
}

/// What is on record of a step after an attempt has completed it.
///
/// # Errors
/// When the attempt has not begun it, or it is completed already.
pub fn complete(on_record: Option<&StepState>, attempt: u32, result: String) -> Result<StepState, StepRefused> {
    match on_record {
        Some(StepState::Begun { attempt: begun }) if *begun == attempt => Ok(StepState::Completed { result }),
        Some(StepState::Completed { .. }) => Err(StepRefused::Completed),
        None | Some(StepState::Begun { .. }) => Err(StepRefused::NotBegun),
    }
}
