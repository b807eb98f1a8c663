//! A cron expression: read, normalised, and kept as one set of bits a field.

use std::fmt;
use std::str::FromStr;

use cron::TimeUnitSpec;

use crate::error::ScheduleError;
use crate::field::{Field, Normal, normalise};

/// A cron expression of 5, 6 or 7 fields, normalised. What it means is in the crate's documentation.
#[derive(Clone)]
pub struct CronExpression {
    text: Box<str>,
    pub(crate) fields: Fields,
}

/// The numbers of each field as bits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Fields {
    pub(crate) seconds: u64,
    pub(crate) minutes: u64,
    pub(crate) hours: u32,
    /// Bit 1 is the first of the month.
    pub(crate) days: u32,
    /// Bit 1 is January.
    pub(crate) months: u16,
    /// Bit 0 is Sunday.
    pub(crate) weekdays: u8,
    /// Both days are restricted: either may match.
    pub(crate) either: bool,
    /// Whether it fires at each instant that shows its wall-clock time, also the second of a fold.
    pub(crate) interval_like: bool,
    /// Bit 0 is 1970; absent: every year.
    pub(crate) years: Option<Box<[u64; 3]>>,
}

/// The first and the last year, as those of crate `cron`.
pub(crate) const YEARS: std::ops::RangeInclusive<i32> = 1970..=2100;

const ALL_MINUTES: u64 = (1 << 60) - 1;
const ALL_HOURS: u32 = (1 << 24) - 1;

const SHORTHANDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl CronExpression {
    /// Reads an expression.
    ///
    /// ```
    /// use rota_schedule::CronExpression;
    ///
    /// let expression = CronExpression::parse("0 2 * jan,JUL mon-Fri")?;
    /// assert_eq!(expression.to_string(), "0 2 * 1,7 1-5");
    /// let problem = CronExpression::parse("0 25 * * *").unwrap_err();
    /// assert_eq!(
    ///     problem.to_string(),
    ///     "the hour field \"25\": 25 is out of range; allowed are 0-23; the nearest is 23"
    /// );
    /// # Ok::<(), rota_schedule::ScheduleError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What cannot be read, is not supported or never comes, with the field, what it may hold and the nearest thing
    /// that can be written.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ScheduleError::Empty);
        }
        let long = match text.strip_prefix('@') {
            Some(word) => shorthand(text, word)?,
            None => text,
        };
        let words: Vec<&str> = long.split_ascii_whitespace().collect();
        if let Some((name, zone)) = words.first().and_then(|word| word.split_once('='))
            && (name.eq_ignore_ascii_case("TZ") || name.eq_ignore_ascii_case("CRON_TZ"))
        {
            return Err(ScheduleError::ZoneWithin { text: text.to_owned(), zone: zone.to_owned() });
        }
        let fields = match words.len() {
            5 => &Field::ALL[1..6],
            6 => &Field::ALL[..6],
            7 => &Field::ALL[..],
            count => return Err(field_count(text, &words, count)),
        };
        let normal: Vec<Normal> =
            fields.iter().zip(&words).map(|(field, word)| normalise(*field, word)).collect::<Result<_, _>>()?;
        let shown: Vec<&str> = normal.iter().map(|n| n.text.as_str()).collect();
        // Second 0 and every year are what is left out.
        let from = usize::from(shown.len() > 5 && shown.len() < 7 && shown[0] == "0");
        let (from, to) = match shown.len() {
            7 if shown[6] == "*" => (usize::from(shown[0] == "0"), 6),
            len => (from, len),
        };
        let expression = Self { text: shown[from..to].join(" ").into(), fields: evaluate(text, &normal)? };
        if expression.fields.next_wall(0).is_none() {
            return Err(ScheduleError::Never { text: text.to_owned(), nearest: expression.coming() });
        }
        Ok(expression)
    }

    /// Whether it is bound to the hour rather than to a time of the day: `*` or `*/n` stands in its minute or hour field,
    /// or either holds every number. It then fires at each instant of a fold.
    pub fn is_interval_like(&self) -> bool {
        self.fields.interval_like
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same with a day that its months have.
    fn coming(&self) -> String {
        let mut words: Vec<&str> = self.text.split(' ').collect();
        let day = if words.len() == 5 { 2 } else { 3 };
        words[day] = if self.fields.months & !(1 << 2) == 0 { "28" } else { "30" };
        words.truncate(day + 3);
        words.join(" ")
    }
}

/// The five fields that a word with @ stands for.
fn shorthand(text: &str, word: &str) -> Result<&'static str, ScheduleError> {
    if word.eq_ignore_ascii_case("reboot") {
        return Err(ScheduleError::Reboot);
    }
    if let Some((_, long)) = SHORTHANDS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)) {
        return Ok(long);
    }
    let likeness = |name: &str| strsim::jaro_winkler(&text.to_ascii_lowercase(), name);
    let nearest = SHORTHANDS.iter().map(|(name, _)| *name).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    Err(ScheduleError::Shorthand { text: text.to_owned(), nearest: nearest.unwrap_or("@daily") })
}

fn field_count(text: &str, words: &[&str], count: usize) -> ScheduleError {
    let mut near: Vec<&str> = words.iter().copied().take(7).collect();
    near.resize(count.clamp(5, 7), "*");
    ScheduleError::FieldCount { text: text.to_owned(), count, nearest: near.join(" ") }
}

/// Lets crate `cron` say which numbers each field holds.
fn evaluate(text: &str, normal: &[Normal]) -> Result<Fields, ScheduleError> {
    let mut spread = String::from(if normal.len() == 5 { "0" } else { "" });
    for field in normal {
        if !spread.is_empty() {
            spread.push(' ');
        }
        spread.push_str(&field.spread);
    }
    let schedule = cron::Schedule::from_str(&spread).map_err(|problem| ScheduleError::Evaluation {
        text: text.to_owned(),
        normal: spread.clone(),
        problem: problem.to_string(),
    })?;
    let minutes = bits(schedule.minutes().iter());
    let hours = bits(schedule.hours().iter()) as u32;
    let at = usize::from(normal.len() > 5);
    let wildcard = |index: usize| normal[at + index].wildcard;
    Ok(Fields {
        seconds: bits(schedule.seconds().iter()),
        minutes,
        hours,
        days: bits(schedule.days_of_month().iter()) as u32,
        months: bits(schedule.months().iter()) as u16,
        weekdays: (bits(schedule.days_of_week().iter()) >> 1) as u8,
        either: !wildcard(2) && !wildcard(4),
        interval_like: wildcard(0) || wildcard(1) || minutes == ALL_MINUTES || hours == ALL_HOURS,
        years: if normal.len() < 7 { None } else { years(schedule.years().iter()) },
    })
}

/// One bit for each number below 64.
fn bits(numbers: impl Iterator<Item = u32>) -> u64 {
    numbers.fold(0, |bits, number| bits | (1 << (number % 64)))
}

/// One bit for each year, or nothing for all of them.
fn years(numbers: impl Iterator<Item = u32>) -> Option<Box<[u64; 3]>> {
    let mut bits = [0u64; 3];
    let mut count = 0;
    for year in numbers {
        let index = year.saturating_sub(*YEARS.start() as u32) as usize;
        if let Some(word) = bits.get_mut(index / 64) {
            *word |= 1 << (index % 64);
            count += 1;
        }
    }
    (count < YEARS.count()).then(|| Box::new(bits))
}

impl Fields {
    /// Whether the hour field holds every hour: then a gap takes nothing that the hours around it do not make up for.
    pub(crate) fn every_hour(&self) -> bool {
        self.hours == ALL_HOURS
    }
}

impl FromStr for CronExpression {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        Self::parse(text)
    }
}

impl PartialEq for CronExpression {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields
    }
}

impl Eq for CronExpression {}

impl std::hash::Hash for CronExpression {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.fields.hash(state);
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CronExpression({:?})", &*self.text)
    }
}
