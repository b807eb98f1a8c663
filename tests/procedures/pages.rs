//! Every page of docs/procedures: what it says, and that its example runs.
