//! Lays `REGISTRY_*` variables over what the file says, by Distribution's rules with its traps removed:
//! names are matched without regard to case, elements of lists and nested maps can be set, and a name that
//! would have protected something is refused when it matches no key. Values are YAML and are never printed.

use super::catalogue::{AUTH_SETTINGS, STORAGE_SETTINGS};
use super::environment::Environment;
use super::kubernetes::is_service_variable;
use super::problems::Problems;
use super::schema::{Place, edits, nearest, root};
use super::tree::{Node, Origin, Step, Value};
use super::yaml;

/// The variables that name the file; they are not keys.
pub(super) const CONFIGURATION_PATH: &str = "REGISTRY_CONFIGURATION_PATH";

/// Variables that must not be misspelt: what they set protects the registry.
const PROTECTING: &[&str] = &["REGISTRY_AUTH", "REGISTRY_HTTP_TLS"];

/// Returns whether any variable speaks of upstreams, which replaces the built-in mirrors.
pub(super) fn name_upstreams(environment: &Environment) -> bool {
    configuring(environment).any(|(name, _)| {
        ["REGISTRY_PROXY", "REGISTRY_MIRRORS"]
            .iter()
            .any(|section| {
                name.to_ascii_uppercase()
                    .strip_prefix(section)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            })
    })
}

/// Lays the variables over `tree`, shorter names before the longer ones that refine them.
pub(super) fn overlay(tree: &mut Node, environment: &Environment, problems: &mut Problems) {
    let mut variables: Vec<(&str, String)> = Vec::new();
    for (name, value) in configuring(environment) {
        match value.to_str() {
            Some(value) => variables.push((name, value.to_owned())),
            None => problems.error(&Origin::Variable(name.into()), "the value is not UTF-8"),
        }
    }
    variables.sort_by_key(|(name, _)| order(name));
    for (name, value) in variables {
        let origin = Origin::Variable(name.into());
        let parts: Vec<&str> = name.split('_').skip(1).collect();
        match resolve(root(), &parts, &mut Vec::new()) {
            Ok((place, steps)) => {
                if let Err(reason) = set(tree, place, &steps, &value, &origin) {
                    problems.error(&origin, reason);
                }
            }
            Err(Unresolved::NotAnIndex(part)) => {
                problems.error(
                    &origin,
                    format_args!("{part:?} stands where the index of a list element is expected"),
                );
            }
            Err(Unresolved::Unknown(near)) => {
                let hint = near
                    .map(|near| format!("; did you mean {near}?"))
                    .unwrap_or_default();
                if protects(name) {
                    problems.error(
                        &origin,
                        format_args!(
                            "names no key, and what it seems to set protects the registry{hint}"
                        ),
                    );
                } else {
                    problems.warning(&origin, format_args!("names no key and is ignored{hint}"));
                }
            }
        }
    }
}

fn configuring(environment: &Environment) -> impl Iterator<Item = (&str, &std::ffi::OsStr)> {
    environment.registry_variables().filter(|(name, value)| {
        *name != CONFIGURATION_PATH && !is_service_variable(name, &value.to_string_lossy())
    })
}

/// Orders names so that a section comes before its keys and element 2 before element 10.
fn order(name: &str) -> Vec<(usize, String)> {
    let number = |part: &str| part.parse::<usize>().ok();
    name.split('_')
        .map(|part| {
            (
                number(part).unwrap_or(usize::MAX),
                part.to_ascii_uppercase(),
            )
        })
        .collect()
}

enum Unresolved {
    /// No key has this name; perhaps the variable returned was meant.
    Unknown(Option<String>),
    NotAnIndex(String),
}

type Resolved = Result<(&'static Place, Vec<Step>), Unresolved>;

/// Finds the place a name leads to. Keys may contain `_` (`max_retries`), so every split is tried.
fn resolve(place: &'static Place, parts: &[&str], steps: &mut Vec<Step>) -> Resolved {
    let Some((first, rest)) = parts.split_first() else {
        return Ok((place, steps.clone()));
    };
    if let Some(item) = place.item.as_deref() {
        let Ok(index) = first.parse() else {
            return Err(Unresolved::NotAnIndex((*first).to_owned()));
        };
        return below(item, rest, Step::Index(index), steps);
    }
    if let Some(value) = place.any_name.as_deref() {
        // Free names may contain `_`; only a trailing index of a list value is not part of the name.
        let indexed = value.item.is_some()
            && parts.len() > 1
            && parts[parts.len() - 1].parse::<usize>().is_ok();
        let (name, rest) = parts.split_at(parts.len() - usize::from(indexed));
        return below(
            value,
            rest,
            Step::Key(name.join("_").to_ascii_lowercase()),
            steps,
        );
    }
    if place.free {
        steps.extend(
            parts
                .iter()
                .map(|part| Step::Key(part.to_ascii_lowercase())),
        );
        return Ok((place, steps.clone()));
    }
    for length in 1..=parts.len() {
        let word = parts[..length].join("_");
        let rest = &parts[length..];
        if let Some((key, next)) = place
            .keys
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(&word))
        {
            return below(next, rest, Step::Key((*key).to_owned()), steps);
        }
        match place
            .aliases
            .iter()
            .find(|(alias, _)| alias.eq_ignore_ascii_case(&word))
        {
            Some((_, "")) => return resolve(place, rest, steps),
            Some((_, key)) => {
                return below(&place.keys[key], rest, Step::Key((*key).to_owned()), steps);
            }
            None => {}
        }
    }
    let near = nearest(first, place.keys.keys().copied());
    Err(Unresolved::Unknown(
        near.map(|near| variable_name(steps, near)),
    ))
}

fn below(place: &'static Place, rest: &[&str], step: Step, steps: &mut Vec<Step>) -> Resolved {
    steps.push(step);
    let found = resolve(place, rest, steps);
    steps.pop();
    found
}

fn variable_name(steps: &[Step], last: &str) -> String {
    let mut name = "REGISTRY".to_owned();
    for step in steps {
        name.push('_');
        match step {
            Step::Key(key) => name.push_str(&key.to_ascii_uppercase()),
            Step::Index(index) => name.push_str(&index.to_string()),
        }
    }
    format!("{name}_{}", last.to_ascii_uppercase())
}

/// Returns whether a name lies under a protecting one, or under one that is a single edit away from it.
fn protects(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    PROTECTING.iter().any(|protecting| {
        let ends = name
            .match_indices('_')
            .map(|(at, _)| at)
            .chain([name.len()]);
        ends.into_iter()
            .any(|end| edits(&name[..end], protecting) <= 1)
    })
}

fn set(
    tree: &mut Node,
    place: &Place,
    steps: &[Step],
    text: &str,
    origin: &Origin,
) -> Result<(), String> {
    let at = |_: u64| origin.clone();
    let mut value = match yaml::parse(text, &at) {
        Ok(node) => node,
        // `[::]:5000` and a password that begins with `@` are no YAML, and can only be meant as they stand; so is `**`
        // where a list of patterns is expected.
        Err(_) if place.is_value() || (place.is_list_of_values() && text.starts_with('*')) => {
            Node {
                value: Value::Scalar(text.to_owned()),
                origin: origin.clone(),
            }
        }
        Err(error) => return Err(error.reason),
    };
    let driver_settings = match steps {
        [Step::Key(key)] if key == "storage" => STORAGE_SETTINGS,
        [Step::Key(key)] if key == "auth" => AUTH_SETTINGS,
        _ => &[],
    };
    let target = tree.at_mut(steps, origin)?;
    let replaces_driver = !driver_settings.is_empty() && matches!(value.value, Value::Scalar(_));
    if replaces_driver && let Value::Map(entries) = &mut target.value {
        entries.retain(|entry| driver_settings.contains(&entry.key.as_str()));
        value.expand_shorthand();
        if let Value::Map(driver) = value.value {
            entries.extend(driver);
        }
        return Ok(());
    }
    if !driver_settings.is_empty() {
        value.expand_shorthand();
    }
    *target = value;
    Ok(())
}
