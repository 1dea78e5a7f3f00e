//! The schedules of the configuration: every tick of one becomes one job. After a time in which nothing ran, the latest tick
//! that was missed counts and the others are forgotten.

use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use metadata::{NewJob, Tick};

use super::payload::{BackUp, Payload, PayloadError, ScrubBlobs, WarmImages};
use super::service::{Inner, Settings};
use crate::config::Warm;

/// Work that comes again and again.
struct Scheduled<'s> {
    /// What tells it from other work with a schedule; never changed, or its ticks would be counted anew.
    name: String,
    /// When, as five fields of cron in UTC.
    schedule: &'s str,
    /// What is done then.
    job: Result<Payload, PayloadError>,
}

/// Returns all work with a schedule.
fn scheduled(settings: &Settings) -> impl Iterator<Item = Scheduled<'_>> {
    let warm = settings.warm.iter().enumerate();
    let warm = warm.map(|(index, warm)| Scheduled {
        name: format!("warm:{index}"),
        schedule: &warm.schedule,
        job: images(warm),
    });
    let backup = settings.backup.iter().map(|schedule| Scheduled {
        name: "backup".to_owned(),
        schedule,
        job: Ok(Payload::Backup(BackUp::default())),
    });
    let scrub = settings.scrub.schedule.iter().map(|schedule| Scheduled {
        name: "scrub".to_owned(),
        schedule,
        // Nobody is there to ask for it.
        job: ScrubBlobs::new(None, true).map(Payload::Scrub),
    });
    warm.chain(backup).chain(scrub)
}

/// Queues a job for every schedule that is due; returns how many. Trouble is logged and the next look tries again.
pub(super) async fn follow(inner: &Inner) -> usize {
    let mut queued = 0;
    for work in scheduled(&inner.settings) {
        let (name, schedule) = (work.name.clone(), work.schedule);
        match due(inner, work).await {
            Ok(true) => queued += 1,
            Ok(false) => {}
            Err(reason) => {
                tracing::error!(name, schedule, reason, "could not follow a schedule");
            }
        }
    }
    queued
}

/// Queues the job of one schedule if it is due. The ticks are the wall clock's: the database's clock, by which claims
/// are measured, lags behind it after a jump, and three o'clock is three o'clock.
async fn due(inner: &Inner, work: Scheduled<'_>) -> Result<bool, String> {
    let now = inner.clock.wall_micros();
    let Scheduled {
        name,
        schedule,
        job,
    } = work;
    // Another time in the file is another schedule: it starts anew, and does not find that it missed something.
    let followed = format!("{name}:{schedule}");
    let told = |error: metadata::Error| error.to_string();
    let handled = inner.metadata.schedule_handled_until(&followed, now);
    let handled = handled.await.map_err(told)?;
    let Some(at) = latest_tick(schedule, handled, now)? else {
        return Ok(false);
    };
    let payload = job.map_err(|error| error.to_string())?;
    let tick = Tick {
        schedule: followed,
        at,
        job: NewJob {
            kind: payload.kind().name().to_owned(),
            // As if somebody had asked for it: while the same runs already, there is nothing to add.
            unique_key: payload.unique_key(),
            payload: payload.to_row(),
        },
    };
    let taken = inner.metadata.take_tick(tick).await.map_err(told)?;
    Ok(taken.is_some())
}

fn images(warm: &Warm) -> Result<Payload, PayloadError> {
    let images = warm.images.iter().map(ToString::to_string).collect();
    let platforms = warm.platforms.iter().map(ToString::to_string).collect();
    WarmImages::new(images, platforms).map(Payload::Warm)
}

/// Returns the last time up to `now` that fits five fields of cron in UTC, if it came after `after`; instants in
/// microseconds since 1970.
fn latest_tick(schedule: &str, after: i64, now: i64) -> Result<Option<i64>, String> {
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    let cron = parser.parse(schedule).map_err(|error| error.to_string())?;
    let instant = Timestamp::from_microsecond(now).map_err(|error| error.to_string())?;
    let civil = instant.to_zoned(TimeZone::UTC).datetime();
    let Ok(tick) = cron.find_previous_occurrence(&civil, true) else {
        return Ok(None);
    };
    let tick = tick
        .to_zoned(TimeZone::UTC)
        .map_err(|error| error.to_string())?;
    let tick = tick.timestamp().as_microsecond();
    Ok((tick > after && tick <= now).then_some(tick))
}

#[cfg(test)]
mod tests {
    use super::latest_tick;

    fn micros(text: &str) -> i64 {
        let instant: jiff::Timestamp = text.parse().expect("an instant");
        instant.as_microsecond()
    }

    fn tick(schedule: &str, after: &str, now: &str) -> Option<String> {
        let tick = latest_tick(schedule, micros(after), micros(now)).expect("a schedule");
        let instant = tick.map(|tick| jiff::Timestamp::from_microsecond(tick).expect("an instant"));
        instant.map(|instant| instant.to_string())
    }

    #[test]
    fn a_schedule_is_due_from_its_minute_on_and_once() {
        let nightly = "0 3 * * *";
        let evening = "2026-03-01T20:00:00Z";
        assert_eq!(tick(nightly, evening, "2026-03-02T02:59:59.999Z"), None);
        let three = Some("2026-03-02T03:00:00Z".to_owned());
        assert_eq!(tick(nightly, evening, "2026-03-02T03:00:00Z"), three);
        assert_eq!(tick(nightly, evening, "2026-03-02T11:11:11.5Z"), three);
        let handled = "2026-03-02T03:00:00Z";
        assert_eq!(tick(nightly, handled, "2026-03-02T11:11:11Z"), None);
    }

    #[test]
    fn of_many_missed_ticks_only_the_latest_counts() {
        let last = Some("2026-03-09T12:45:00Z".to_owned());
        let (after, now) = ("2026-03-01T00:00:00Z", "2026-03-09T12:59:59Z");
        assert_eq!(tick("*/15 * * * *", after, now), last);
    }

    #[test]
    fn schedules_are_utc_and_know_weekdays_and_months() {
        let sunday = Some("2026-03-08T23:30:00Z".to_owned());
        let (after, now) = ("2026-03-03T00:00:00Z", "2026-03-09T00:00:00Z");
        assert_eq!(tick("30 23 * * 0", after, now), sunday);
        let yearly = Some("2026-01-01T00:00:00Z".to_owned());
        assert_eq!(tick("0 0 1 1 *", "2025-06-01T00:00:00Z", now), yearly);
    }
}
