//! Lists of patterns: an element that is empty is never "no list", which would open what the list should close.

use super::load::{PLAIN, errors, with};

const MIRROR: &str = "mirrors: [{name: a.example}]\n";

#[test]
fn an_empty_pattern_is_refused_with_place_and_key() {
    for (list, element) in [
        ("[\"\"]", "[0]"),
        ("[null]", "[0]"),
        ("[\"**\", '']", "[1]"),
        ("''", ""),
    ] {
        for key in ["allow", "deny"] {
            let text = format!("{PLAIN}mirrors: [{{name: a.example, {key}: {list}}}]\n");
            let told = format!("config.yml:3: mirrors[0].{key}{element}: a pattern is empty");
            assert_eq!(errors(&text, &[]), [told], "{list}");
        }
        let told = format!("config.yml:3: cache.pin{element}: a pattern is empty");
        let text = format!("{PLAIN}cache: {{pin: {list}}}\n");
        assert_eq!(errors(&text, &[]), [told], "{list}");
    }
    for list in ["[\"\"]", "[null]"] {
        let text = format!("{PLAIN}{MIRROR}warm: [{{schedule: \"0 3 * * *\", images: {list}}}]\n");
        let told = "config.yml:4: warm[0].images[0]: a pattern is empty";
        assert_eq!(errors(&text, &[]), [told], "{list}");
    }
}

#[test]
fn an_empty_pattern_of_a_variable_is_refused() {
    let text = format!("{PLAIN}{MIRROR}");
    for (name, value) in [
        ("REGISTRY_MIRRORS_0_ALLOW_0", ""),
        ("REGISTRY_MIRRORS_0_ALLOW", "['']"),
    ] {
        let told = format!("{name}: mirrors[0].allow[0]: a pattern is empty");
        assert_eq!(errors(&text, &[(name, value)]), [told], "{name}");
    }
}

#[test]
fn a_list_without_elements_is_no_list() {
    for list in ["", "[]", "null"] {
        let text = format!("{PLAIN}mirrors: [{{name: a.example, allow: {list}}}]\n");
        let config = with(&text, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert!(config.mirrors.upstreams[0].allow.is_empty(), "{list}");
    }
}
