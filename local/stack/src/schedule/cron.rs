//! EventBridge's cron expressions: six fields, in UTC (EventBridge User Guide, "Cron expressions").
//!
//! Why this is no crate: `docs/decisions/0014-cron.md`.

use std::collections::BTreeSet;
use std::fmt;

/// Minutes at which something fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: BTreeSet<u16>,
    hours: BTreeSet<u16>,
    days: Days,
    months: BTreeSet<u16>,
    years: BTreeSet<u16>,
}

/// Which days of a month. Of the two fields one always says nothing (`?`).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Days {
    /// By the day of the month.
    OfMonth(Vec<DayOfMonth>),
    /// By the day of the week.
    OfWeek(Vec<DayOfWeek>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum DayOfMonth {
    /// One of these.
    In(BTreeSet<u16>),
    /// `L`: the last one.
    Last,
    /// `3W`: the weekday nearest to this day, in the same month.
    Weekday(u16),
    /// `LW`: the last weekday.
    LastWeekday,
}

/// Days of the week count from 1, Sunday.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DayOfWeek {
    /// One of these.
    In(BTreeSet<u16>),
    /// `6L`: the last one of the month.
    Last(u16),
    /// `6#3`: the third one of the month.
    Nth(u16, u16),
}

/// What a field may hold.
struct Field {
    name: &'static str,
    least: u16,
    most: u16,
    /// Words for values, the first for `least`.
    words: &'static [&'static str],
}

const MINUTES: Field = Field { name: "minutes", least: 0, most: 59, words: &[] };
const HOURS: Field = Field { name: "hours", least: 0, most: 23, words: &[] };
const DAYS_OF_MONTH: Field = Field { name: "day-of-month", least: 1, most: 31, words: &[] };
const MONTHS: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    words: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const DAYS_OF_WEEK: Field =
    Field { name: "day-of-week", least: 1, most: 7, words: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] };
const YEARS: Field = Field { name: "year", least: 1970, most: 2199, words: &[] };

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Days from 1970 to the end of 2199, and a few more.
const HORIZON: u64 = 231 * 366;

impl Cron {
    /// Reads the six fields.
    ///
    /// # Errors
    /// With what is wrong, and how it is right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<_> = text.split_ascii_whitespace().collect();
        let &[minutes, hours, day_of_month, months, day_of_week, years] = fields.as_slice() else {
            let text = format!(
                "it has {} fields and must have six: minutes, hours, day-of-month, month, day-of-week, year",
                fields.len()
            );
            return Err(text);
        };
        let cron = Self {
            text: fields.join(" "),
            minutes: MINUTES.values(minutes)?,
            hours: HOURS.values(hours)?,
            days: Days::parse(day_of_month, day_of_week)?,
            months: MONTHS.values(months)?,
            years: YEARS.values(years)?,
        };
        match cron.next(0) {
            Some(_) => Ok(cron),
            None => Err("no day is ever like this, so it would never fire".to_owned()),
        }
    }

    /// The first time after `after` at which it fires, both in seconds since the epoch; nothing if it does not fire any more.
    #[must_use]
    pub fn next(&self, after: u64) -> Option<u64> {
        let first = (after / MINUTE + 1) * MINUTE;
        let last = self.years.last().copied().unwrap_or_default();
        let mut dates = (first / DAY..HORIZON).map(Date::of).take_while(|date| date.year <= last);
        dates.find_map(|date| self.on(&date, first))
    }

    /// The first time on a day, not before `first`.
    fn on(&self, date: &Date, first: u64) -> Option<u64> {
        let is_right = self.years.contains(&date.year) && self.months.contains(&date.month) && self.days.contain(date);
        let begin = date.number * DAY;
        let mut times = self.hours.iter().flat_map(|hour| {
            self.minutes.iter().map(move |minute| begin + u64::from(*hour) * HOUR + u64::from(*minute) * MINUTE)
        });
        is_right.then(|| times.find(|time| *time >= first)).flatten()
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Field {
    /// `*`, or what is in a list of values, ranges and steps.
    fn values(&self, text: &str) -> Result<BTreeSet<u16>, String> {
        let mut values = BTreeSet::new();
        for part in text.split(',') {
            values.extend(self.part(part)?);
        }
        Ok(values)
    }

    fn part(&self, part: &str) -> Result<Vec<u16>, String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let step = step.parse().ok().filter(|step| (1..=self.most).contains(step));
                (range, Some(step.ok_or_else(|| self.wrong(part))?))
            }
            None => (part, None),
        };
        let step = usize::from(step.unwrap_or(1)).max(1);
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((from, to)) => (self.value(from, part)?, self.value(to, part)?),
            // `0/15` goes on to the end.
            None if part.contains('/') => (self.value(range, part)?, self.most),
            None => (self.value(range, part)?, self.value(range, part)?),
        };
        if from <= to {
            return Ok((from..=to).step_by(step).collect());
        }
        // `FRI-MON` and `22-2` go around.
        if self.most >= YEARS.least {
            return Err(self.wrong(part));
        }
        Ok((from..=self.most).chain(self.least..=to).step_by(step).collect())
    }

    fn value(&self, text: &str, part: &str) -> Result<u16, String> {
        let word = self.words.iter().position(|word| word.eq_ignore_ascii_case(text));
        let value = match word {
            Some(index) => u16::try_from(index).ok().map(|index| index + self.least),
            None => text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())),
        };
        value.filter(|value| (self.least..=self.most).contains(value)).ok_or_else(|| self.wrong(part))
    }

    fn wrong(&self, part: &str) -> String {
        let Self { name, least, most, words } = self;
        match words {
            [first, .., last] => format!("its {name} `{part}` must be made of {least} to {most} or {first} to {last}"),
            _ => format!("its {name} `{part}` must be made of {least} to {most}"),
        }
    }
}

impl Days {
    fn parse(of_month: &str, of_week: &str) -> Result<Self, String> {
        match (of_month, of_week) {
            ("?", "?") => Err("both day-of-month and day-of-week are `?`: write `*` in one of them".to_owned()),
            (given, "?") => given.split(',').map(DayOfMonth::parse).collect::<Result<_, _>>().map(Self::OfMonth),
            ("?", given) => {
                let parts: Vec<_> = given.split(',').collect();
                if parts.len() > 1 && given.contains('#') {
                    return Err(format!("its day-of-week `{given}` must have nothing beside the one with `#`"));
                }
                parts.into_iter().map(DayOfWeek::parse).collect::<Result<_, _>>().map(Self::OfWeek)
            }
            _ => Err("one of day-of-month and day-of-week must be `?`, as in `0 12 * * ? *`".to_owned()),
        }
    }

    fn contain(&self, date: &Date) -> bool {
        match self {
            Self::OfMonth(days) => days.iter().any(|day| day.is(date)),
            Self::OfWeek(days) => days.iter().any(|day| day.is(date)),
        }
    }
}

impl DayOfMonth {
    fn parse(part: &str) -> Result<Self, String> {
        match part {
            "L" => Ok(Self::Last),
            "LW" => Ok(Self::LastWeekday),
            _ => match part.strip_suffix('W') {
                Some(day) => DAYS_OF_MONTH.value(day, part).map(Self::Weekday),
                None => DAYS_OF_MONTH.part(part).map(|days| Self::In(days.into_iter().collect())),
            },
        }
    }

    fn is(&self, date: &Date) -> bool {
        match self {
            Self::In(days) => days.contains(&date.day),
            Self::Last => date.day == date.days,
            Self::Weekday(day) => *day <= date.days && date.day == date.weekday_near(*day),
            Self::LastWeekday => date.day == date.weekday_near(date.days),
        }
    }
}

impl DayOfWeek {
    fn parse(part: &str) -> Result<Self, String> {
        if let Some((day, nth)) = part.split_once('#') {
            let nth = nth.parse().ok().filter(|nth| (1..=5).contains(nth));
            let nth = nth.ok_or_else(|| format!("its day-of-week `{part}` must have 1 to 5 behind `#`"))?;
            return Ok(Self::Nth(DAYS_OF_WEEK.value(day, part)?, nth));
        }
        match part.strip_suffix('L') {
            // Alone it is the last day of the week.
            Some("") => Ok(Self::In(BTreeSet::from([DAYS_OF_WEEK.most]))),
            Some(day) => DAYS_OF_WEEK.value(day, part).map(Self::Last),
            None => DAYS_OF_WEEK.part(part).map(|days| Self::In(days.into_iter().collect())),
        }
    }

    fn is(&self, date: &Date) -> bool {
        match self {
            Self::In(days) => days.contains(&date.day_of_week(date.day)),
            Self::Last(day) => *day == date.day_of_week(date.day) && date.day + 7 > date.days,
            Self::Nth(day, nth) => *day == date.day_of_week(date.day) && date.day.div_ceil(7) == *nth,
        }
    }
}

/// A day of the calendar.
struct Date {
    year: u16,
    month: u16,
    day: u16,
    /// How many the month has.
    days: u16,
    /// Days since the epoch.
    number: u64,
}

impl Date {
    /// The date so many days after 1970 began.
    fn of(number: u64) -> Self {
        let (mut year, mut rest) = (1970, number);
        while rest >= days_of_year(year) {
            rest -= days_of_year(year);
            year += 1;
        }
        let mut month = 1;
        while rest >= u64::from(days_of_month(year, month)) {
            rest -= u64::from(days_of_month(year, month));
            month += 1;
        }
        let day = u16::try_from(rest + 1).unwrap_or(u16::MAX);
        Self { year, month, day, days: days_of_month(year, month), number }
    }

    /// 1 to 7, Sunday to Saturday, of a day of this month. The epoch began on a Thursday.
    fn day_of_week(&self, day: u16) -> u16 {
        let number = self.number + u64::from(day) + 7 * 6 - u64::from(self.day);
        u16::try_from((number + 4) % 7 + 1).unwrap_or_default()
    }

    /// The weekday nearest to a day, without leaving the month.
    fn weekday_near(&self, day: u16) -> u16 {
        match self.day_of_week(day) {
            7 if day == 1 => day + 2,
            7 => day - 1,
            1 if day == self.days => day - 2,
            1 => day + 1,
            _ => day,
        }
    }
}

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_year(year: u16) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(year: u16, month: u16) -> u16 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Friday, 27 November 2026, 12:00.
    const NOW: u64 = 1_795_780_800;

    /// The next times, as `2026-11-27 12:00`.
    fn next(text: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        let times = std::iter::successors(cron.next(NOW), |time| cron.next(*time)).take(count);
        let written = |time: u64| {
            let date = Date::of(time / DAY);
            let (hour, minute) = (time % DAY / HOUR, time % HOUR / MINUTE);
            format!("{}-{:02}-{:02} {hour:02}:{minute:02}", date.year, date.month, date.day)
        };
        times.map(written).collect()
    }

    #[track_caller]
    fn check<const N: usize>(text: &str, expected: [&str; N]) {
        assert_eq!(next(text, N), expected, "{text}");
    }

    /// The examples of the EventBridge User Guide.
    #[test]
    fn the_documented_examples_fire_when_the_guide_says() {
        check("0 10 * * ? *", ["2026-11-28 10:00", "2026-11-29 10:00"]);
        check("15 12 * * ? *", ["2026-11-27 12:15", "2026-11-28 12:15"]);
        check("0 18 ? * MON-FRI *", ["2026-11-27 18:00", "2026-11-30 18:00"]);
        check("0 8 1 * ? *", ["2026-12-01 08:00", "2027-01-01 08:00"]);
        check("0/15 * * * ? *", ["2026-11-27 12:15", "2026-11-27 12:30", "2026-11-27 12:45", "2026-11-27 13:00"]);
        check("0/10 * ? * MON-FRI *", ["2026-11-27 12:10"]);
        check("0/5 8-17 ? * MON-FRI *", ["2026-11-27 12:05"]);
        check(
            "0/30 20-2 ? * MON-FRI *",
            ["2026-11-27 20:00", "2026-11-27 20:30", "2026-11-27 21:00", "2026-11-27 21:30"],
        );
        check("5,35 14 * * ? *", ["2026-11-27 14:05", "2026-11-27 14:35", "2026-11-28 14:05"]);
        check("15 10 ? * 6L 2026-2027", ["2026-12-25 10:15", "2027-01-29 10:15"]);
    }

    #[test]
    fn days_are_the_last_the_nearest_weekday_and_the_nth_of_a_month() {
        check("0 0 L * ? *", ["2026-11-30 00:00", "2026-12-31 00:00", "2027-01-31 00:00", "2027-02-28 00:00"]);
        check("0 0 L 2 ? 2028", ["2028-02-29 00:00"]);
        // Sunday the 1st of August 2027 goes on to Monday; Saturday the 1st of May 2027 must not leave its month.
        check("0 0 1W 8 ? 2027", ["2027-08-02 00:00"]);
        check("0 0 1W 5 ? 2027", ["2027-05-03 00:00"]);
        check("0 0 15W 5 ? 2027", ["2027-05-14 00:00"]);
        check("0 0 31W 1 ? 2027", ["2027-01-29 00:00"]);
        check("0 0 LW * ? 2027", ["2027-01-29 00:00", "2027-02-26 00:00"]);
        check("0 0 31W * ? 2027", ["2027-01-29 00:00", "2027-03-31 00:00"]);
        check("0 0 ? * 3#2 *", ["2026-12-08 00:00", "2027-01-12 00:00"]);
        check("0 0 ? * L *", ["2026-11-28 00:00", "2026-12-05 00:00"]);
        check("0 0 ? * FRI-MON *", ["2026-11-28 00:00", "2026-11-29 00:00", "2026-11-30 00:00", "2026-12-04 00:00"]);
        check("0 0 ? * sun,WED *", ["2026-11-29 00:00", "2026-12-02 00:00"]);
        check("0 0 29 2 ? *", ["2028-02-29 00:00", "2032-02-29 00:00"]);
        check("0 0 1,L 12 ? *", ["2026-12-01 00:00", "2026-12-31 00:00"]);
        check("0 0 1 NOV-FEB ? *", ["2026-12-01 00:00", "2027-01-01 00:00", "2027-02-01 00:00", "2027-11-01 00:00"]);
    }

    #[test]
    fn a_minute_is_not_fired_twice_and_a_year_ends_it() {
        let cron = Cron::parse("0 12 * * ? *").unwrap();
        assert_eq!(cron.next(NOW), Some(NOW + DAY));
        assert_eq!(cron.next(NOW - 1), Some(NOW));
        assert_eq!(Cron::parse("0 0 1 1 ? 2026").unwrap().next(NOW), None);
    }

    #[test]
    fn what_eventbridge_refuses_is_told_with_the_fix() {
        let check = |text: &str, expected: &str| assert_eq!(Cron::parse(text).unwrap_err(), expected, "{text}");
        let six = "fields and must have six: minutes, hours, day-of-month, month, day-of-week, year";
        check("0 12 * * *", &format!("it has 5 {six}"));
        check("0 0 12 * * ? *", &format!("it has 7 {six}"));
        let one = "one of day-of-month and day-of-week must be `?`, as in `0 12 * * ? *`";
        check("0 12 * * * *", one);
        check("0 12 1 * MON *", one);
        check("0 12 ? * ? *", "both day-of-month and day-of-week are `?`: write `*` in one of them");
        check("60 12 * * ? *", "its minutes `60` must be made of 0 to 59");
        check("0 24 * * ? *", "its hours `24` must be made of 0 to 23");
        check("0 12 32 * ? *", "its day-of-month `32` must be made of 1 to 31");
        check("0 12 W * ? *", "its day-of-month `W` must be made of 1 to 31");
        check("0 12 * 13 ? *", "its month `13` must be made of 1 to 12 or JAN to DEC");
        check("0 12 ? * 0 *", "its day-of-week `0` must be made of 1 to 7 or SUN to SAT");
        check("0 12 ? * MON#6 *", "its day-of-week `MON#6` must have 1 to 5 behind `#`");
        check("0 12 ? * 3#1,6#3 *", "its day-of-week `3#1,6#3` must have nothing beside the one with `#`");
        check("0 12 * * ? 2200", "its year `2200` must be made of 1970 to 2199");
        check("*/0 12 * * ? *", "its minutes `*/0` must be made of 0 to 59");
        check("+5 12 * * ? *", "its minutes `+5` must be made of 0 to 59");
        check("0 12 30 2 ? *", "no day is ever like this, so it would never fire");
    }
}
