//! What patterns match, and which of two is the narrower.

use super::*;

fn p(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

#[test]
fn patterns_match_what_they_say() {
    for (pattern, yes, no) in [
        ("/a", "/a", "/a/b"),
        ("/a/**", "/a", "/ab"),
        ("/a/**", "/a/b/c", "/"),
        ("/a/*", "/a/b", "/a"),
        ("/a/*", "/a/bc", "/a/b/c"),
        ("**/.env", "/.env", "/.envx"),
        ("**/.env", "/w/src/.env", "/w/.env/x"),
        ("/a/**/b", "/a/b", "/a/xb"),
        ("/a/**/b", "/a/x/y/b", "/a/b/x"),
        ("/a?c", "/abc", "/a/c"),
        ("/[a-c]*", "/bx", "/d"),
        ("/[!a]", "/b", "/a"),
        ("/a\\*", "/a*", "/ab"),
        ("/**", "", "x"),
    ] {
        let no = if no == "/" { "" } else { no };
        assert!(p(pattern).matches(yes.as_bytes()), "{pattern} {yes}");
        assert!(!p(pattern).matches(no.as_bytes()), "{pattern} {no}");
    }
}

#[test]
fn narrower_is_inclusion_not_spelling() {
    for (a, b, within, back) in [
        ("/w/src/**", "/w/**", true, false),
        ("/w/*.c", "/w/**", true, false),
        ("/w/?*", "/w/*", true, true),
        ("/w/[a-c]", "/w/?", true, false),
        ("/w/**/**", "/w/**", true, true),
        ("**/.env", "/w/**", false, false),
        ("/a/**/b/**", "/a/**", true, false),
        ("/a/*/b", "/a/**/b", true, false),
    ] {
        assert_eq!(p(a).is_within(&p(b)), within, "{a} {b}");
        assert_eq!(p(b).is_within(&p(a)), back, "{b} {a}");
    }
    assert_eq!(
        p("**/.env").common(&p("/w/**")).as_deref(),
        Some(&b"/w/.env"[..])
    );
    assert_eq!(p("/w/*.c").common(&p("/w/*.h")), None);
}

/// The search agrees with trying all short paths.
#[test]
fn inclusion_is_what_trying_everything_says() {
    let names = ["", "/a", "/b", "/ab", "/ba", "/aa"];
    let mut paths: Vec<String> = vec![String::new()];
    for _ in 0..3 {
        paths = paths
            .iter()
            .flat_map(|p| names.map(|n| format!("{p}{n}")))
            .collect();
    }
    let patterns: Vec<Pattern> = [
        "/a", "/a/**", "**/a", "/*", "/*/a", "/a*", "/?", "/[ab]", "**/a/**", "/**/b", "/**",
        "/a/*", "/*a/**", "/*b*",
    ]
    .map(p)
    .into();
    for a in &patterns {
        for b in &patterns {
            let tried = paths.iter().map(|x| x.as_bytes());
            let counter = tried.clone().find(|x| a.matches(x) && !b.matches(x));
            if counter.is_some() {
                assert!(!a.is_within(b), "{} {}", a.text(), b.text());
            }
            let both = tried.clone().any(|x| a.matches(x) && b.matches(x));
            assert_eq!(both, a.common(b).is_some(), "{} {}", a.text(), b.text());
            if let Some(witness) = search(a, b, |x, y| x && !y) {
                assert!(a.matches(&witness) && !b.matches(&witness));
            } else {
                assert!(counter.is_none(), "{} {}", a.text(), b.text());
            }
        }
    }
}

/// What is known without a search is what the search says.
#[test]
fn inclusion_of_places_is_what_a_search_says() {
    let patterns = [
        "/", "/**", "/a", "/a/**", "/a/b", "/ab/**", "/a/b/**", "/[a]", "/a/*", "/*", "**/a",
        "/a/**/b", "/a?", "/\\a/**",
    ]
    .map(p);
    for a in &patterns {
        for b in &patterns {
            let searched = search(a, b, |mine, theirs| mine && !theirs).is_none();
            assert_eq!(a.is_within(b), searched, "{} {}", a.text(), b.text());
        }
    }
}
