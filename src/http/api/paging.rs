//! Pages of the lists: `?limit=&cursor=`, and a `Link` to the next. A cursor is a text that only the
//! server reads.

use hyper::header::LINK;

use super::problem::Problem;
use crate::http::respond::{self, Response};

/// Entries of a page whose request names no number.
const DEFAULT: u32 = 100;
/// The most entries one may ask for.
const MOST: u32 = 1000;

/// The part of a list that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// The most entries.
    pub limit: u32,
    /// Where it begins: in a list with the latest first, before this entry; in one with the first first, at it.
    pub cursor: Option<i64>,
}

impl Page {
    /// Reads a query; where `is_list` is false it may say nothing at all.
    pub(super) fn parse(query: Option<&str>, is_list: bool) -> Result<Self, Problem> {
        let mut page = Self {
            limit: DEFAULT,
            cursor: None,
        };
        let query = query.unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "limit" if is_list => page.limit = limit(&value)?,
                "cursor" if is_list => page.cursor = Some(cursor(&value)?),
                _ => {
                    let name: String = name.escape_debug().take(64).collect();
                    let detail = format!("parameter {name:?} is not known here");
                    return Err(Problem::bad_request(detail));
                }
            }
        }
        Ok(page)
    }

    /// Tells in `response` where the next page of the list at `path` begins.
    pub(super) fn link(self, response: &mut Response, path: &str, next: i64) {
        let limit = self.limit;
        let link = format!("<{path}?limit={limit}&cursor={next}>; rel=\"next\"");
        respond::set(response, LINK, &link);
    }
}

fn limit(text: &str) -> Result<u32, Problem> {
    let wrong = || Problem::bad_request(format!("limit is a number from 1 to {MOST}"));
    let limit = text.parse().map_err(|_| wrong())?;
    (1..=MOST)
        .contains(&limit)
        .then_some(limit)
        .ok_or_else(wrong)
}

fn cursor(text: &str) -> Result<i64, Problem> {
    let known = text.parse().ok().filter(|cursor| *cursor >= 0);
    known.ok_or_else(|| Problem::bad_request("cursor is none that this server gave"))
}
