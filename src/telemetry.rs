//! What the server tells its operator: log lines on stderr, access lines on stdout, counters.
//! Everything a client can influence is escaped, so that no line can be forged and no terminal driven.

mod access_log;
mod backup_metrics;
mod collector_metrics;
mod distribution_metrics;
mod integrity_metrics;
mod labels;
mod log_lines;
mod metrics;
mod storage_metrics;

pub use access_log::{AccessLine, AccessLog};
pub use collector_metrics::{CollectionUnderWay, CollectorMetrics};
pub use integrity_metrics::IntegrityMetrics;
pub use labels::{Breaker, CacheResult, Endpoint, Kind};
pub use log_lines::{LogLines, init};
pub use metrics::{METRICS_TYPE, Metrics, MirrorNumbers};
