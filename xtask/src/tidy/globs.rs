//! Rule "glob import": no `use x::*`, not even `use super::*` in tests.
//! A reader must be able to tell where a name comes from without a compiler.

use super::run::Finding;
use super::source::{Source, written_paths};

/// Returns a finding for every import that ends in `*`, tests included.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    written_paths(&source.tokens())
        .into_iter()
        .filter(|path| path.segments.last() == Some(&"*"))
        .map(|path| Finding {
            path: source.path.clone(),
            line: path.line,
            rule: "glob import",
            advice: format!(
                "name what you use instead of `{}`",
                path.segments.join("::")
            ),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source::Source;

    fn lines_found(text: &str) -> Vec<usize> {
        check(&Source::new("src/a.rs".to_owned(), text.to_owned()))
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn globs_are_found_in_plain_grouped_and_test_imports() {
        assert_eq!(
            lines_found(
                "use a::*;\npub use b::{c,\n d::*};\n#[cfg(test)]\nmod tests {\n use super::*;\n}"
            ),
            [1, 3, 6]
        );
    }

    #[test]
    fn products_pointers_strings_and_comments_are_not_globs() {
        let text = "// use a::*;\nfn f(x: *const u8) { let y = A::B * C::D; let s = \"use a::*;\"; *y::z(); }\nuse a::b;";
        assert_eq!(lines_found(text), [] as [usize; 0]);
    }
}
