//! The seven fields of a cron expression: what each may hold, and how one is read and normalised.

use std::fmt;

use crate::error::{FieldProblem, ScheduleError};

/// A field of a cron expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// 0-59; there with six and seven fields only.
    Second,
    /// 0-59.
    Minute,
    /// 0-23.
    Hour,
    /// 1-31.
    DayOfMonth,
    /// 1-12 or JAN-DEC.
    Month,
    /// 0-7 or SUN-SAT; 0 and 7 are Sunday.
    DayOfWeek,
    /// 1970-2100; there with seven fields only.
    Year,
}

const MONTHS: [&str; 12] = [
    "JANUARY",
    "FEBRUARY",
    "MARCH",
    "APRIL",
    "MAY",
    "JUNE",
    "JULY",
    "AUGUST",
    "SEPTEMBER",
    "OCTOBER",
    "NOVEMBER",
    "DECEMBER",
];
const WEEKDAYS: [&str; 7] = ["SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY"];

impl Field {
    /// All fields, in the order of an expression with seven.
    pub const ALL: [Self; 7] =
        [Self::Second, Self::Minute, Self::Hour, Self::DayOfMonth, Self::Month, Self::DayOfWeek, Self::Year];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day-of-month",
            Self::Month => "month",
            Self::DayOfWeek => "day-of-week",
            Self::Year => "year",
        }
    }

    /// What it may hold, in words.
    pub const fn allowed(self) -> &'static str {
        match self {
            Self::Second | Self::Minute => "0-59",
            Self::Hour => "0-23",
            Self::DayOfMonth => "1-31",
            Self::Month => "1-12 and JAN-DEC",
            Self::DayOfWeek => "0-7 (0 and 7 are Sunday) and SUN-SAT",
            Self::Year => "1970-2100",
        }
    }

    /// Its least and greatest number.
    pub(crate) const fn bounds(self) -> (u32, u32) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 7),
            Self::Year => (1970, 2100),
        }
    }

    /// The numbers that `*` stands for.
    const fn whole(self) -> (u32, u32) {
        match self {
            Self::DayOfWeek => (0, 6),
            _ => self.bounds(),
        }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &WEEKDAYS,
            _ => &[],
        }
    }

    /// The number of a name, written in full or with three letters, in any case.
    fn number(self, name: &str) -> Option<u32> {
        let index =
            self.names().iter().position(|n| name.eq_ignore_ascii_case(n) || name.eq_ignore_ascii_case(&n[..3]))?;
        u32::try_from(index).ok().map(|index| index + self.whole().0)
    }

    /// The known name that is most like a word that is none.
    fn nearest(self, word: &str) -> Option<String> {
        let word = word.to_ascii_uppercase();
        let near = self.names().iter().flat_map(|name| [(&name[..3], *name), (*name, *name)]);
        let (distance, name) =
            near.map(|(form, name)| (strsim::damerau_levenshtein(&word, form), name)).min_by_key(|n| n.0)?;
        (distance <= 2).then(|| name[..3].to_owned())
    }

    /// The interval that someone means who writes too large a step after `*`.
    fn interval(self, step: u32) -> Option<String> {
        let unit = match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
            Self::DayOfMonth => "d",
            _ => return None,
        };
        Some(format!("every = \"{step}{unit}\""))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A field as read.
pub(crate) struct Normal {
    /// The normalised text: numbers for names, no needless ranges and steps.
    pub(crate) text: String,
    /// The same as crate `cron` wants it, whose Sunday is 1.
    pub(crate) spread: String,
    /// Whether `*` or `*/n` stands in it.
    pub(crate) wildcard: bool,
}

/// Reads a field.
pub(crate) fn normalise(field: Field, text: &str) -> Result<Normal, ScheduleError> {
    let fail = |problem| ScheduleError::Field { field, text: text.to_owned(), problem };
    let mut normal = Normal { text: String::new(), spread: String::new(), wildcard: false };
    for item in text.split(',') {
        let item = Item::read(field, item).map_err(fail)?;
        let whole = item.first == field.whole().0 && item.last == field.whole().1 && item.step == 1;
        if !normal.text.is_empty() {
            normal.text.push(',');
            normal.spread.push(',');
        }
        // Of days, `*` and the whole range differ: only the first leaves the choice to the other field.
        let days = matches!(field, Field::DayOfMonth | Field::DayOfWeek);
        if item.wildcard || (whole && !days) {
            normal.wildcard = true;
            normal.text.push('*');
            if item.step > 1 {
                normal.text.push_str(&format!("/{}", item.step));
            }
        } else {
            item.write(field, &mut normal.text);
        }
        item.spread(field, &mut normal.spread);
    }
    Ok(normal)
}

/// An element of a field's list: the numbers from `first` to `last`, through the field's end if they are reversed.
struct Item {
    first: u32,
    last: u32,
    step: u32,
    wildcard: bool,
}

impl Item {
    fn read(field: Field, text: &str) -> Result<Self, FieldProblem> {
        if let Some(problem) = unsupported(field, text) {
            return Err(problem);
        }
        let (base, step) = match text.split_once('/') {
            Some((base, step)) => (base, Some(step)),
            None => (text, None),
        };
        let malformed = || FieldProblem::Malformed { item: text.to_owned(), allowed: field.allowed() };
        let (mut first, mut last, named) = if base == "*" {
            let (first, last) = field.whole();
            (first, last, false)
        } else if let Some((from, to)) = base.split_once('-') {
            let ((first, named_first), (last, named_last)) = (value(field, from, text)?, value(field, to, text)?);
            (first, last, named_first || named_last)
        } else {
            let (number, named) = value(field, base, text)?;
            if let Some(step) = step {
                let instead = format!("{number}-{}/{step}", field.whole().1);
                return Err(FieldProblem::StepWithoutRange { item: text.to_owned(), instead });
            }
            (number, number, named)
        };
        if field == Field::DayOfWeek {
            (first, last) = match (first, last) {
                (7, 7) => (0, 0),
                (first, 0) if named && first > 0 => (first, 7),
                (7, last) if named => (0, last),
                other => other,
            };
        }
        if first > last && !named {
            return Err(FieldProblem::Reversed { item: text.to_owned(), instead: unreversed(field, first, last) });
        }
        let step = match step {
            None => 1,
            Some(step) if step.is_empty() || !step.bytes().all(|b| b.is_ascii_digit()) => return Err(malformed()),
            Some(step) => step.parse().unwrap_or(u32::MAX),
        };
        let item = Self { first, last, step, wildcard: base == "*" };
        let largest = item.numbers(field).count() as u32;
        let largest = largest.saturating_sub(1).max(1);
        if step == 0 || step > largest {
            let instead = match field.interval(step) {
                Some(interval) if step > 0 && item.wildcard => interval,
                _ => format!("{base}/{}", step.clamp(1, largest)),
            };
            return Err(FieldProblem::Step { item: text.to_owned(), largest, instead });
        }
        Ok(item)
    }

    /// Every number that it goes through, ignoring the step, with 7 for a Sunday at the end of a range.
    fn numbers(&self, field: Field) -> impl Iterator<Item = u32> + use<> {
        let (least, greatest) = field.whole();
        let (first, last) = (self.first, self.last);
        let (head, tail) = if first <= last { (first..=last, None) } else { (first..=greatest, Some(least..=last)) };
        head.chain(tail.into_iter().flatten())
    }

    fn write(&self, field: Field, text: &mut String) {
        let (least, greatest) = field.bounds();
        let wraps = self.first > self.last;
        if wraps && self.step > 1 {
            return write_list(self.numbers(field).step_by(self.step as usize), text);
        }
        let mut range = |first: u32, last: u32| {
            if first == last {
                text.push_str(&first.to_string());
            } else {
                text.push_str(&format!("{first}-{last}"));
            }
        };
        if !wraps {
            range(self.first, self.last);
            if self.step > 1 {
                text.push_str(&format!("/{}", self.step));
            }
            return;
        }
        // A week that wraps has its Sunday as 7 at the end of the first part.
        range(self.first, greatest);
        text.push(',');
        let mut range = |first: u32, last: u32| {
            text.push_str(&if first == last { first.to_string() } else { format!("{first}-{last}") });
        };
        range(if field == Field::DayOfWeek { 1 } else { least }, self.last);
    }

    fn spread(&self, field: Field, text: &mut String) {
        let whole = (self.first, self.last) == field.whole();
        if whole && self.step == 1 {
            text.push('*');
        } else if field == Field::DayOfWeek || self.first > self.last {
            let sunday = field == Field::DayOfWeek;
            let number = |n: u32| if sunday { n % 7 + 1 } else { n };
            write_list(self.numbers(field).step_by(self.step as usize).map(number), text);
        } else if self.first == self.last {
            text.push_str(&self.first.to_string());
        } else {
            text.push_str(&format!("{}-{}/{}", self.first, self.last, self.step));
        }
    }
}

fn write_list(numbers: impl Iterator<Item = u32>, text: &mut String) {
    for (index, number) in numbers.enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&number.to_string());
    }
}

/// A number or name, and whether it was a name.
fn value(field: Field, text: &str, item: &str) -> Result<(u32, bool), FieldProblem> {
    if text.is_empty() || text.contains('/') {
        return Err(FieldProblem::Malformed { item: item.to_owned(), allowed: field.allowed() });
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let (least, greatest) = field.bounds();
        let number = text.parse().unwrap_or(u32::MAX);
        if (least..=greatest).contains(&number) {
            return Ok((number, false));
        }
        let nearest = number.clamp(least, greatest);
        return Err(FieldProblem::OutOfRange { value: text.to_owned(), allowed: field.allowed(), nearest });
    }
    if let Some(number) = field.number(text) {
        return Ok((number, true));
    }
    let word = text.chars().all(char::is_alphabetic);
    Err(if word {
        FieldProblem::Word { word: text.to_owned(), allowed: field.allowed(), nearest: field.nearest(text) }
    } else {
        FieldProblem::Malformed { item: item.to_owned(), allowed: field.allowed() }
    })
}

/// How a reversed range of numbers is written as a list.
fn unreversed(field: Field, first: u32, last: u32) -> String {
    let range = |a: u32, b: u32| if a == b { a.to_string() } else { format!("{a}-{b}") };
    let (least, greatest) = field.bounds();
    match (field, first, last) {
        (Field::Year, ..) => range(last, first),
        (Field::DayOfWeek, 7, last) => range(0, last),
        (Field::DayOfWeek, first, 0) => range(first, 7),
        (Field::DayOfWeek, first, last) => format!("{},{}", range(first, 7), range(1, last)),
        _ => format!("{},{}", range(first, greatest), range(least, last)),
    }
}

/// What other programs read and this one refuses: L, W, # and ?.
fn unsupported(field: Field, item: &str) -> Option<FieldProblem> {
    let refuse = |sign, meaning, instead: String| {
        Some(FieldProblem::Unsupported { item: item.to_owned(), sign, meaning, instead })
    };
    if item.contains('?') {
        return refuse('?', "no particular value", item.replace('?', "*"));
    }
    if let Some((day, _)) = item.split_once('#') {
        let day = if day.is_empty() { "1" } else { day };
        return refuse('#', "the n-th such weekday of the month", day.to_owned());
    }
    if !matches!(field, Field::DayOfMonth | Field::DayOfWeek) || field.number(item).is_some() {
        return None;
    }
    let upper = item.to_ascii_uppercase();
    let rest = upper.trim_matches(|c: char| c.is_ascii_digit() || c == '-');
    let digits: String = upper.chars().filter(char::is_ascii_digit).collect();
    match rest {
        "W" => refuse('W', "the working day nearest to a day", if digits.is_empty() { "1".to_owned() } else { digits }),
        "L" | "LW" | "WL" if field == Field::DayOfMonth => {
            refuse('L', "the last day of the month", "28 or, on the day after the last, 1".to_owned())
        }
        "L" => {
            refuse('L', "the last such weekday of the month", if digits.is_empty() { "6".to_owned() } else { digits })
        }
        _ => match rest.strip_suffix('L') {
            Some(name) if field.number(name).is_some() => {
                refuse('L', "the last such weekday of the month", name.to_owned())
            }
            _ => None,
        },
    }
}
