//! Which backups may go. Pure: it sees ids and times, and says for each why it stays.

use rota_sdk::{Timestamp, data};

/// How many are kept: all of the last hours, and the newest of so many days, weeks (from Monday) and months, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Hours, counted from the newest backup: what was made just before a change is not given up for what was made after it.
    pub hours: u32,
    /// Days.
    pub daily: u32,
    /// Weeks.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
}

/// A backup of one database of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// When it was started.
    pub at: Timestamp,
    /// Whether something is known to be wrong with it. Such a backup counts for nothing, and stays for a person to look at.
    pub damaged: bool,
    /// Whether it was restored once, and its rows compared.
    pub restored: bool,
}

/// Why a backup stays.
#[data]
pub enum Reason {
    /// It is the newest.
    Newest,
    /// It is recent.
    Recent,
    /// It is the last one that was verified by a restore.
    LastRestored,
    /// It is the newest of its day.
    Daily,
    /// It is the newest of its week.
    Weekly,
    /// It is the newest of its month.
    Monthly,
    /// It is damaged, and a person decides.
    Damaged,
}

/// What becomes of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its id.
    pub id: String,
    /// Why it stays; empty: it may go.
    pub keep: Vec<Reason>,
}

const DAY: i64 = 86_400_000_000;

fn day(at: Timestamp) -> i64 {
    at.0.div_euclid(DAY)
}

/// Weeks from Monday: 1970-01-01 was a Thursday.
fn week(at: Timestamp) -> i64 {
    (day(at) + 3).div_euclid(7)
}

fn month(at: Timestamp) -> i64 {
    let (year, month, _) = at.date();
    year * 12 + i64::from(month)
}

/// How many of which period, and what it is called.
type Period = (u32, fn(Timestamp) -> i64, Reason);

/// Decide on each, the newest first.
pub fn decide(candidates: &[Candidate], policy: Policy) -> Vec<Decision> {
    let mut sorted: Vec<&Candidate> = candidates.iter().collect();
    sorted.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
    let mut decisions: Vec<Decision> =
        sorted.iter().map(|candidate| Decision { id: candidate.id.clone(), keep: Vec::new() }).collect();
    let good: Vec<usize> = (0..sorted.len()).filter(|&place| !sorted[place].damaged).collect();
    let mut keep = |place: usize, reason: Reason| decisions[place].keep.push(reason);
    if let Some(&newest) = good.first() {
        keep(newest, Reason::Newest);
        let since = sorted[newest].at.plus_seconds(-3600 * i64::from(policy.hours));
        good.iter().skip(1).filter(|&&place| sorted[place].at > since).for_each(|&place| keep(place, Reason::Recent));
    }
    if let Some(&restored) = good.iter().find(|&&place| sorted[place].restored) {
        keep(restored, Reason::LastRestored);
    }
    let periods: [Period; 3] = [
        (policy.daily, day, Reason::Daily),
        (policy.weekly, week, Reason::Weekly),
        (policy.monthly, month, Reason::Monthly),
    ];
    for (count, period, reason) in periods {
        let (mut left, mut last) = (count, None);
        for &place in &good {
            let this = Some(period(sorted[place].at));
            if left > 0 && this != last {
                keep(place, reason);
                (left, last) = (left - 1, this);
            }
        }
    }
    for (place, candidate) in sorted.iter().enumerate() {
        if candidate.damaged {
            keep(place, Reason::Damaged);
        }
    }
    decisions
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEFAULT: Policy = Policy { hours: 0, daily: 7, weekly: 4, monthly: 12 };

    fn at(text: &str) -> Candidate {
        Candidate { id: text.to_owned(), at: Timestamp::parse(text).unwrap(), damaged: false, restored: false }
    }

    fn kept(candidates: &[Candidate], policy: Policy) -> Vec<String> {
        decide(candidates, policy)
            .into_iter()
            .filter(|decision| !decision.keep.is_empty())
            .map(|decision| decision.id)
            .collect()
    }

    #[test]
    fn a_year_of_days_leaves_seven_days_four_weeks_twelve_months() {
        let end = Timestamp::parse("2026-11-23T02:00:00Z").unwrap();
        let year: Vec<Candidate> = (0..400).map(|days| at(&end.plus_seconds(-86_400 * days).to_string())).collect();
        let kept = kept(&year, DEFAULT);
        let expected = [
            // seven days; the first is this week's and this month's, too
            "2026-11-23",
            "2026-11-22",
            "2026-11-21",
            "2026-11-20",
            "2026-11-19",
            "2026-11-18",
            "2026-11-17",
            // Sundays: the newest of three more weeks (the 22nd is one of the days)
            "2026-11-15",
            "2026-11-08",
            // the last days of eleven more months
            "2026-10-31",
            "2026-09-30",
            "2026-08-31",
            "2026-07-31",
            "2026-06-30",
            "2026-05-31",
            "2026-04-30",
            "2026-03-31",
            "2026-02-28",
            "2026-01-31",
            "2025-12-31",
        ];
        assert_eq!(kept.iter().map(|id| &id[..10]).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_newest_of_a_day_stays() {
        let two = [at("2026-11-23T02:00:00Z"), at("2026-11-23T14:00:00Z"), at("2026-11-22T23:59:59Z")];
        assert_eq!(kept(&two, DEFAULT), ["2026-11-23T14:00:00Z", "2026-11-22T23:59:59Z"]);
    }

    #[test]
    fn recent_ones_stay() {
        let all = [
            at("2026-11-23T12:00:00Z"),
            at("2026-11-23T02:00:00Z"),
            at("2026-11-22T12:00:01Z"),
            at("2026-11-22T12:00:00Z"),
        ];
        let policy = Policy { hours: 24, daily: 0, weekly: 0, monthly: 0 };
        assert_eq!(kept(&all, policy), ["2026-11-23T12:00:00Z", "2026-11-23T02:00:00Z", "2026-11-22T12:00:01Z"]);
    }

    #[test]
    fn the_only_one_stays_whatever_the_policy() {
        assert_eq!(kept(&[at("2020-01-01T00:00:00Z")], Policy { hours: 0, daily: 0, weekly: 0, monthly: 0 }).len(), 1);
        assert!(decide(&[], DEFAULT).is_empty());
    }

    #[test]
    fn damaged_ones_count_for_nothing() {
        let mut newest = at("2026-11-23T14:00:00Z");
        newest.damaged = true;
        let all = [newest, at("2026-11-23T02:00:00Z"), at("2026-11-23T01:00:00Z")];
        let decisions = decide(&all, Policy { hours: 0, daily: 1, weekly: 0, monthly: 0 });
        assert_eq!(decisions[0].keep, [Reason::Damaged]);
        assert_eq!(decisions[1].keep, [Reason::Newest, Reason::Daily]);
        assert!(decisions[2].keep.is_empty());
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (0i64..60_000, any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.1));
        prop::collection::vec(one, 0..80).prop_map(|all| {
            let make = |(place, (hours, _, damaged, restored)): (usize, (i64, bool, bool, bool))| Candidate {
                id: format!("{place:03}"),
                at: Timestamp(hours * 3_600_000_000),
                damaged,
                restored: restored && !damaged,
            };
            all.into_iter().enumerate().map(make).collect()
        })
    }

    fn policy() -> impl Strategy<Value = Policy> {
        (0u32..100, 0u32..10, 0u32..6, 0u32..15).prop_map(|(hours, daily, weekly, monthly)| Policy {
            hours,
            daily,
            weekly,
            monthly,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn what_must_stay_stays(all in candidates(), policy in policy()) {
            let kept = kept(&all, policy);
            let newest = |wanted: &dyn Fn(&Candidate) -> bool| all.iter().filter(|c| wanted(c)).max_by_key(|c| (c.at, c.id.clone())).map(|c| c.id.clone());
            for must in [newest(&|c| !c.damaged), newest(&|c| c.restored)].into_iter().flatten() {
                prop_assert!(kept.contains(&must));
            }
            for damaged in all.iter().filter(|c| c.damaged) {
                prop_assert!(kept.contains(&damaged.id));
            }
            prop_assert_eq!(decide(&all, policy).len(), all.len());
        }

        #[test]
        fn no_more_than_the_policy_says_stays(all in candidates(), policy in policy()) {
            let policy = Policy { hours: 0, ..policy };
            let damaged = all.iter().filter(|c| c.damaged).count();
            prop_assert!(kept(&all, policy).len() <= (policy.daily + policy.weekly + policy.monthly) as usize + 2 + damaged);
        }

        #[test]
        fn a_second_time_deletes_nothing(all in candidates(), policy in policy()) {
            let first = kept(&all, policy);
            let left: Vec<Candidate> = all.into_iter().filter(|c| first.contains(&c.id)).collect();
            prop_assert_eq!(kept(&left, policy).len(), left.len());
        }

        #[test]
        fn the_order_given_does_not_matter(all in candidates(), policy in policy()) {
            let mut reversed = all.clone();
            reversed.reverse();
            prop_assert_eq!(decide(&all, policy), decide(&reversed, policy));
        }

        #[test]
        fn a_longer_policy_keeps_no_less(all in candidates(), policy in policy()) {
            let longer = Policy { hours: policy.hours + 1, daily: policy.daily + 1, weekly: policy.weekly + 1, monthly: policy.monthly + 1 };
            let more = kept(&all, longer);
            prop_assert!(kept(&all, policy).iter().all(|id| more.contains(id)));
        }
    }
}
