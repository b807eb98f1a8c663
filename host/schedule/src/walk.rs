//! Walks wall-clock time for a cron expression: the next time that matches, and how many match, by sets of bits and
//! field by field, never minute by minute.
//!
//! A wall-clock time is a count of seconds since 1970-01-01T00:00:00 as a clock on the wall shows it.

use chrono::{Datelike, NaiveDate};

use crate::expression::{Fields, YEARS};

/// The last second of 2100.
const LAST_WALL: i64 = 4_133_980_799;

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

impl Fields {
    /// The first wall-clock time at or after `from` that matches.
    pub(crate) fn next_wall(&self, from: i64) -> Option<i64> {
        let from = from.max(0);
        let day = from / DAY;
        let date = date(day)?;
        if self.days_in(date.year(), date.month()) & (1 << date.day()) != 0
            && let Some(second) = self.next_second(from % DAY)
        {
            return Some(day * DAY + second);
        }
        Some(self.next_day(day, date)? * DAY + self.next_second(0)?)
    }

    /// The last wall-clock time at or before `to` that matches.
    pub(crate) fn previous_wall(&self, to: i64) -> Option<i64> {
        let to = to.min(LAST_WALL);
        let day = to.div_euclid(DAY);
        let date = date(day)?;
        if self.days_in(date.year(), date.month()) & (1 << date.day()) != 0
            && let Some(second) = self.previous_second(to.rem_euclid(DAY))
        {
            return Some(day * DAY + second);
        }
        Some(self.previous_day(day, date)? * DAY + self.previous_second(DAY - 1)?)
    }

    /// How many wall-clock times match from `from` on and before `to`.
    pub(crate) fn count_wall(&self, from: i64, to: i64) -> u64 {
        let (from, to) = (from.max(0), to.clamp(0, LAST_WALL + 1));
        if from >= to {
            return 0;
        }
        let a_day = u64::from(self.hours.count_ones())
            * u64::from(self.minutes.count_ones())
            * u64::from(self.seconds.count_ones());
        let days = self.count_days(from / DAY, to / DAY);
        // Whole days from the first to the last, less what is before `from`, plus what is before `to`.
        days * a_day + self.count_before(to) - self.count_before(from)
    }

    /// The first matching day after `day`, whose date is `date`.
    fn next_day(&self, day: i64, date: NaiveDate) -> Option<i64> {
        let rest = u64::from(self.days_in(date.year(), date.month())) >> (date.day() + 1);
        if rest != 0 {
            return Some(day + 1 + i64::from(rest.trailing_zeros()));
        }
        let (mut year, mut month) = (date.year(), date.month());
        while YEARS.contains(&year) {
            let later = u32::from(self.months) >> (month + 1);
            if later != 0 && self.has_year(year) {
                month += 1 + later.trailing_zeros();
            } else {
                year = self.next_year(year)?;
                month = u32::from(self.months).trailing_zeros();
            }
            let days = self.days_in(year, month);
            if days != 0 {
                return Some(day_of(NaiveDate::from_ymd_opt(year, month, days.trailing_zeros())?));
            }
        }
        None
    }

    /// The last matching day before `day`, whose date is `date`.
    fn previous_day(&self, day: i64, date: NaiveDate) -> Option<i64> {
        if let Some(earlier) = bit_before(self.days_in(date.year(), date.month()).into(), date.day()) {
            return Some(day - i64::from(date.day() - earlier));
        }
        let (mut year, mut month) = (date.year(), date.month());
        while YEARS.contains(&year) {
            match bit_before(self.months.into(), month) {
                Some(earlier) if self.has_year(year) => month = earlier,
                _ => {
                    year = (*YEARS.start()..year).rev().find(|year| self.has_year(*year))?;
                    month = bit_before(self.months.into(), 13)?;
                }
            }
            if let Some(last) = bit_before(self.days_in(year, month).into(), 32) {
                return Some(day_of(NaiveDate::from_ymd_opt(year, month, last)?));
            }
        }
        None
    }

    /// The days of a month that match; bit 1 is the first.
    fn days_in(&self, year: i32, month: u32) -> u32 {
        if self.months & (1 << month) == 0 || !self.has_year(year) {
            return 0;
        }
        let Some(first) = NaiveDate::from_ymd_opt(year, month, 1) else { return 0 };
        let valid = ((1u64 << (first.num_days_in_month() + 1)) - 2) as u32;
        // The week turned so that bit 0 is the weekday of the first, then repeated through the month.
        let weekday = first.weekday().num_days_from_sunday();
        let week = u64::from(self.weekdays);
        let week = ((week >> weekday) | (week << (7 - weekday))) & 0x7f;
        let by_weekday = ((week * 0b1_0000001_0000001_0000001_0000001) << 1) as u32;
        valid & if self.either { self.days | by_weekday } else { self.days & by_weekday }
    }

    /// How many days match from one on and before another.
    fn count_days(&self, from: i64, to: i64) -> u64 {
        let (Some(first), Some(last)) = (date(from), date(to)) else { return 0 };
        let before = |days: u32, day: u32| u64::from((days & ((1 << day) - 1)).count_ones());
        let mut count = 0;
        let (mut year, mut month) = (first.year(), first.month());
        while (year, month) < (last.year(), last.month()) && YEARS.contains(&year) {
            count += u64::from(self.days_in(year, month).count_ones());
            (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        }
        count + before(self.days_in(last.year(), last.month()), last.day())
            - before(self.days_in(first.year(), first.month()), first.day())
    }

    /// How many times of its own day match before a wall-clock time.
    fn count_before(&self, wall: i64) -> u64 {
        let Some(date) = date(wall / DAY) else { return 0 };
        if self.days_in(date.year(), date.month()) & (1 << date.day()) == 0 {
            return 0;
        }
        let (hour, minute, second) = split(wall % DAY);
        let (hours, minutes, seconds) = (u64::from(self.hours), self.minutes, self.seconds);
        let below = |bits: u64, number: u32| u64::from((bits & ((1 << number) - 1)).count_ones());
        let a_minute = u64::from(seconds.count_ones());
        let an_hour = u64::from(minutes.count_ones()) * a_minute;
        let mut count = below(hours, hour) * an_hour;
        if hours & (1 << hour) != 0 {
            count += below(minutes, minute) * a_minute;
            if minutes & (1 << minute) != 0 {
                count += below(seconds, second);
            }
        }
        count
    }

    /// The first second of a day at or after `from` that matches.
    fn next_second(&self, from: i64) -> Option<i64> {
        let (hour, minute, second) = split(from);
        let at = |hour: u32, minute: u32, second: u32| Some(i64::from(hour * 3600 + minute * 60 + second));
        let (hours, minutes, seconds) = (u64::from(self.hours), self.minutes, self.seconds);
        let (first_minute, first_second) = (minutes.trailing_zeros(), seconds.trailing_zeros());
        if hours & (1 << hour) != 0 {
            if minutes & (1 << minute) != 0
                && let Some(second) = next_bit(seconds, second)
            {
                return at(hour, minute, second);
            }
            if let Some(minute) = next_bit(minutes, minute + 1) {
                return at(hour, minute, first_second);
            }
        }
        at(next_bit(hours, hour + 1)?, first_minute, first_second)
    }

    /// The last second of a day at or before `to` that matches.
    fn previous_second(&self, to: i64) -> Option<i64> {
        let (hour, minute, second) = split(to);
        let at = |hour: u32, minute: u32, second: u32| Some(i64::from(hour * 3600 + minute * 60 + second));
        let (hours, minutes, seconds) = (u64::from(self.hours), self.minutes, self.seconds);
        let (last_minute, last_second) = (bit_before(minutes, 60)?, bit_before(seconds, 60)?);
        if hours & (1 << hour) != 0 {
            if minutes & (1 << minute) != 0
                && let Some(second) = bit_before(seconds, second + 1)
            {
                return at(hour, minute, second);
            }
            if let Some(minute) = bit_before(minutes, minute) {
                return at(hour, minute, last_second);
            }
        }
        at(bit_before(hours, hour)?, last_minute, last_second)
    }

    fn has_year(&self, year: i32) -> bool {
        let index = (year - YEARS.start()) as usize;
        YEARS.contains(&year) && self.years.as_ref().is_none_or(|years| years[index / 64] & (1 << (index % 64)) != 0)
    }

    fn next_year(&self, year: i32) -> Option<i32> {
        (year + 1..=*YEARS.end()).find(|year| self.has_year(*year))
    }
}

/// The lowest bit that is set at or above a place.
fn next_bit(bits: u64, from: u32) -> Option<u32> {
    let rest = bits.checked_shr(from)?;
    (rest != 0).then(|| from + rest.trailing_zeros())
}

/// The highest bit that is set below a place, which is less than 64.
fn bit_before(bits: u64, place: u32) -> Option<u32> {
    (bits & ((1 << place) - 1)).checked_ilog2()
}

/// Hour, minute and second of a second of the day.
fn split(second: i64) -> (u32, u32, u32) {
    let second = second as u32;
    (second / 3600, second / 60 % 60, second % 60)
}

fn date(day: i64) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(i32::try_from(day).ok()?)
}

fn day_of(date: NaiveDate) -> i64 {
    i64::from(date.to_epoch_days())
}
