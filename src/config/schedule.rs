//! Schedules: five fields of cron in UTC, checked when the configuration is read, so that none is found to be wrong when its
//! time has come.

use croner::parser::{CronParser, Seconds, Year};

/// Checks five fields of cron that some time of some year fits.
pub(super) fn schedule_of_cron(text: &str) -> Result<String, String> {
    let wrong = |why: &str| {
        format!("{text:?} is not a schedule of five fields (minute hour day month weekday): {why}")
    };
    let fields = text.split_whitespace().count();
    if fields != 5 {
        return Err(wrong(&format!("it has {fields}")));
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    let schedule = parser
        .parse(text)
        .map_err(|error| wrong(&error.to_string()))?;
    // Any day will do: what never comes after this one comes never.
    let start = jiff::civil::date(2000, 1, 1).at(0, 0, 0, 0);
    match schedule.find_next_occurrence(&start, true) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(wrong("no time fits it")),
    }
}
