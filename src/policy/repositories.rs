//! Which repositories of an upstream may be asked for. Pure; names are those the upstream itself uses.

use oci::Glob;

/// Why a repository may not be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A pattern of `deny` fits.
    #[error("its deny list has {pattern:?}")]
    Denied {
        /// The pattern, as written.
        pattern: String,
    },
    /// There is an `allow` list, and none of its patterns fits.
    #[error("its allow list ({}) does not name it", shown(allowed))]
    NotAllowed {
        /// The patterns, as written.
        allowed: Vec<String>,
    },
}

/// Patterns told in a message.
const SHOWN: usize = 3;

/// Returns why `repository` is refused, or nothing when it may be asked for: `deny` beats `allow`, and an empty `allow`
/// allows everything.
pub fn refusal(repository: &str, allow: &[Glob], deny: &[Glob]) -> Option<Refusal> {
    if let Some(pattern) = deny.iter().find(|pattern| pattern.matches(repository)) {
        return Some(Refusal::Denied {
            pattern: pattern.to_string(),
        });
    }
    if allow.is_empty() || allow.iter().any(|pattern| pattern.matches(repository)) {
        return None;
    }
    Some(Refusal::NotAllowed {
        allowed: allow.iter().map(Glob::to_string).collect(),
    })
}

fn shown(patterns: &[String]) -> String {
    let mut text = patterns
        .iter()
        .take(SHOWN)
        .map(|pattern| format!("{pattern:?}"))
        .collect::<Vec<_>>()
        .join(", ");
    if patterns.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

#[cfg(test)]
mod tests {
    use oci::Glob;

    use super::{Refusal, refusal};

    fn globs(patterns: &[&str]) -> Vec<Glob> {
        patterns
            .iter()
            .map(|pattern| Glob::parse(pattern).expect("a pattern"))
            .collect()
    }

    #[test]
    fn without_lists_everything_may_be_asked_for() {
        assert_eq!(refusal("library/nginx", &[], &[]), None);
    }

    #[test]
    fn an_allow_list_allows_only_what_it_names() {
        let allow = globs(&["library/**", "team/app"]);
        assert_eq!(refusal("library/nginx", &allow, &[]), None);
        assert_eq!(refusal("team/app", &allow, &[]), None);
        let refused = refusal("team/application", &allow, &[]).expect("refused");
        assert_eq!(
            refused.to_string(),
            r#"its allow list ("library/**", "team/app") does not name it"#
        );
    }

    #[test]
    fn deny_beats_allow_and_names_its_pattern() {
        let (allow, deny) = (globs(&["library/**"]), globs(&["x", "library/secret*"]));
        assert_eq!(refusal("library/nginx", &allow, &deny), None);
        let refused = refusal("library/secrets", &allow, &deny);
        let pattern = "library/secret*".to_owned();
        assert_eq!(refused, Some(Refusal::Denied { pattern }));
        assert!(refusal("library/secret", &[], &deny).is_some());
    }

    #[test]
    fn a_long_list_is_told_in_part() {
        let allow = globs(&["a", "b", "c", "d"]);
        let refused = refusal("e", &allow, &[]).expect("refused").to_string();
        assert!(refused.contains(r#""c", …)"#), "{refused}");
    }
}
