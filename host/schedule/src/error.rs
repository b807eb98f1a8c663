//! Why a schedule, or a part of one, is refused.

use crate::field::Field;

/// Why something is no schedule, or cannot be asked of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Nothing there.
    #[error("a cron expression is empty; write for example \"0 2 * * *\" (daily at 02:00)")]
    Empty,
    /// Too few or too many fields.
    #[error(
        "\"{text}\" has {count} fields; a cron expression has 5 (minute hour day-of-month month day-of-week), 6 (second first) or \
         7 (year last), for example \"{nearest}\""
    )]
    FieldCount {
        /// The whole expression.
        text: String,
        /// How many fields it has.
        count: usize,
        /// An expression with the right number of them.
        nearest: String,
    },
    /// A word with @ that is none.
    #[error(
        "\"{text}\" is not known; there are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly; the nearest is {nearest}"
    )]
    Shorthand {
        /// What was written.
        text: String,
        /// The known one that is most like it.
        nearest: &'static str,
    },
    /// `@reboot`, which is no time.
    #[error("\"@reboot\" is no time and is not supported; write when it should fire, for example @daily")]
    Reboot,
    /// `TZ=...` or `CRON_TZ=...` in front.
    #[error("\"{text}\" names a time zone within the expression; name it beside it: timezone = \"{zone}\"")]
    ZoneWithin {
        /// The whole expression.
        text: String,
        /// The zone's name.
        zone: String,
    },
    /// A field that cannot be read.
    #[error("the {field} field \"{text}\": {problem}")]
    Field {
        /// Which one.
        field: Field,
        /// All that it holds.
        text: String,
        /// What is wrong with it.
        problem: FieldProblem,
    },
    /// A day that no month has, as 30 February.
    #[error(
        "\"{text}\" never comes: none of its months has such a day in its years; the nearest that does is \"{nearest}\""
    )]
    Never {
        /// The whole expression.
        text: String,
        /// One that comes.
        nearest: String,
    },
    /// Crate `cron` refuses what was normalised. It never should.
    #[error("\"{text}\" was normalised to \"{normal}\", which was refused: {problem}")]
    Evaluation {
        /// The whole expression.
        text: String,
        /// As it was normalised.
        normal: String,
        /// What crate `cron` says.
        problem: String,
    },
    /// A time zone that is none.
    #[error("\"{name}\" is not a time zone of the IANA database{}", nearest.as_ref().map_or_else(String::new, |n| format!("; the nearest is \"{n}\"")))]
    Zone {
        /// What was written.
        name: String,
        /// The known zone that is most like it.
        nearest: Option<String>,
    },
    /// An interval of less than a second.
    #[error("an interval of {milliseconds} ms is too short; the shortest is 1 s")]
    Interval {
        /// Its length.
        milliseconds: u128,
    },
    /// A window whose end is not after its beginning.
    #[error("the window \"{window}\" ends before it opens; write the earlier one first")]
    WindowReversed {
        /// As it was written.
        window: String,
    },
    /// A window that cannot be read.
    #[error("\"{text}\" is not a window: {problem}; write for example \"{nearest}\"")]
    Window {
        /// As it was written.
        text: String,
        /// What is wrong with it.
        problem: String,
        /// One that would do.
        nearest: String,
    },
    /// A range with more instants than the caller takes.
    #[error("the range holds {count} instants, more than the {limit} allowed; take a shorter range or a larger limit")]
    TooMany {
        /// How many it holds.
        count: u64,
        /// How many are allowed.
        limit: usize,
    },
    /// A range whose end is not after its beginning.
    #[error("the range from {from} to {to} is empty; write the earlier instant first")]
    RangeReversed {
        /// Its beginning.
        from: String,
        /// Its end.
        to: String,
    },
    /// A word of a policy that is none.
    #[error("\"{word}\" is no {what}; there are {allowed}; the nearest is \"{nearest}\"")]
    Word {
        /// What was written.
        word: String,
        /// What it should be.
        what: &'static str,
        /// The words there are.
        allowed: &'static str,
        /// The one that is most like it.
        nearest: &'static str,
    },
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// Something that cannot be read at all.
    #[error("\"{item}\" is neither a number, a name, a range, * nor one of these with a step; allowed are {allowed}")]
    Malformed {
        /// The element of the list.
        item: String,
        /// What the field may hold.
        allowed: &'static str,
    },
    /// A number that the field does not have.
    #[error("{value} is out of range; allowed are {allowed}; the nearest is {nearest}")]
    OutOfRange {
        /// The number.
        value: String,
        /// What the field may hold.
        allowed: &'static str,
        /// The nearest number that it may.
        nearest: u32,
    },
    /// A word that is no name.
    #[error("\"{word}\" is not known; allowed are {allowed}{}", nearest.as_ref().map_or_else(String::new, |n| format!("; the nearest is {n}")))]
    Word {
        /// The word.
        word: String,
        /// What the field may hold.
        allowed: &'static str,
        /// The known name that is most like it.
        nearest: Option<String>,
    },
    /// L, W, # or ?.
    #[error("\"{item}\" uses {sign} ({meaning}), which is not supported; the nearest is {instead}")]
    Unsupported {
        /// The element of the list.
        item: String,
        /// The sign.
        sign: char,
        /// What it means elsewhere.
        meaning: &'static str,
        /// What can be written.
        instead: String,
    },
    /// A range of numbers that goes backwards.
    #[error("\"{item}\" goes backwards; the same in order is {instead}")]
    Reversed {
        /// The element of the list.
        item: String,
        /// The same as a list.
        instead: String,
    },
    /// A step after a single number.
    #[error("\"{item}\" has a step but no range; the nearest is {instead}")]
    StepWithoutRange {
        /// The element of the list.
        item: String,
        /// The same with a range.
        instead: String,
    },
    /// A step of nothing, or one that leaves its range at once.
    #[error("the step of \"{item}\" is out of range; allowed are 1-{largest}; the nearest is {instead}")]
    Step {
        /// The element of the list.
        item: String,
        /// The largest step that stays in the range.
        largest: u32,
        /// What was probably meant.
        instead: String,
    },
}
