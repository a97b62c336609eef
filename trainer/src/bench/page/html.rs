//! The page: one file without network, scripts or fonts, light or dark as the reader has it.

use std::fmt::Write as _;

use super::{
    super::{
        cases::{self, Case},
        figures::{bootstrap, median},
        report::number,
        result::RunResult,
    },
    band::{Across, band},
    plot::{self, class, escaped},
};

const STYLE: &str = include_str!("page.css");

/// All results, one section each.
pub fn html(results: &[(String, RunResult)]) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <title>Murmuration benchmarks</title><style>{STYLE}</style></head><body>\n<h1>Murmuration benchmarks</h1>\n"
    );
    for (_, result) in results.iter().skip(1) {
        for why in results[0].1.header.differences(&result.header) {
            // Writing to a String cannot fail.
            let _ = writeln!(page, "<p class=\"warning\">Not to be compared: {}.</p>", escaped(&why));
        }
    }
    results.iter().for_each(|(file, result)| section(&mut page, file, result));
    page.push_str("</body></html>\n");
    page
}

fn section(page: &mut String, file: &str, result: &RunResult) {
    let _ = writeln!(page, "<section><h2>{}</h2>", escaped(&result.title()));
    facts(page, file, result);
    warnings(page, result);
    let names = cases::names(&result.samples);
    let cases: Vec<(&str, Case<'_>)> = names.iter().map(|name| (*name, Case::of(&result.samples, name))).collect();
    legend(page, &names);
    for across in Across::ALL {
        let lines: Vec<_> =
            cases.iter().enumerate().map(|(index, (_, case))| (index, band(case.samples(), across))).collect();
        let title = format!("Loss against {}", across.words());
        if let Some(svg) = plot::lines(&title, across.words(), &lines) {
            let _ = writeln!(
                page,
                "<figure><figcaption>Held-out loss, nats a byte, against {}: the median over the seeds, \
                with a band from the lowest to the highest</figcaption>{svg}</figure>",
                across.words()
            );
        }
    }
    metrics(page, result);
    table(page, &cases);
    let mut figures: Vec<&str> = cases.iter().flat_map(|(_, case)| case.figures()).collect();
    figures.sort_unstable();
    figures.dedup();
    for figure in figures {
        let rows: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(index, (name, case))| (index, *name, case.values(figure)))
            .filter(|(.., values)| !values.is_empty())
            .map(|(index, name, values)| {
                let median = median(&values);
                (index, name, values, median)
            })
            .collect();
        if let Some(svg) = plot::rows(figure, &rows) {
            let _ = writeln!(
                page,
                "<figure><figcaption>{}: a point for each seed, a bar for the median</figcaption>{svg}</figure>",
                escaped(figure)
            );
        }
    }
    page.push_str("</section>\n");
}

fn facts(page: &mut String, file: &str, result: &RunResult) {
    let header = &result.header;
    let system = [&header.platform.system, &header.platform.kernel].map(|said| said.as_deref().unwrap_or("unknown"));
    let facts = [
        ("File", file.to_owned()),
        ("Command", header.command.join(" ")),
        ("Machine", header.hardware.sentence()),
        ("System", format!("{}, kernel {}", system[0], system[1])),
        ("Program", format!("murmur {}, {}", header.version, header.tree_in_words())),
        ("Configuration", header.config_digest.clone()),
    ];
    page.push_str("<dl>");
    for (name, fact) in facts {
        let _ = write!(page, "<dt>{name}</dt><dd>{}</dd>", escaped(&fact));
    }
    page.push_str("</dl>\n");
}

fn warnings(page: &mut String, result: &RunResult) {
    let unfinished = (!result.header.finished).then(|| "The suite was stopped before its end.".to_owned());
    for warning in unfinished.into_iter().chain(result.damage.iter().map(|what| format!("Edited: {what}."))) {
        let _ = writeln!(page, "<p class=\"warning\">{}</p>", escaped(&warning));
    }
}

fn legend(page: &mut String, names: &[&str]) {
    page.push_str("<ul class=\"legend\">");
    for (index, name) in names.iter().enumerate() {
        let _ = write!(
            page,
            "<li><svg viewBox=\"0 0 24 8\" class=\"key\"><line class=\"line {}\" x1=\"0\" y1=\"4\" x2=\"24\" y2=\"4\"/></svg>{}</li>",
            class(index),
            escaped(name)
        );
    }
    page.push_str("</ul>\n");
}

/// What the suite concluded, as it is stored.
fn metrics(page: &mut String, result: &RunResult) {
    let Some(metrics) = result.conclusion["metrics"].as_object() else { return };
    page.push_str(
        "<h3>Conclusion</h3><table><thead><tr><th>metric</th><th>value</th><th>95 % interval</th><th>unit</th>\
        </tr></thead><tbody>\n",
    );
    for (name, metric) in metrics {
        let value = metric["value"].as_f64().map_or_else(|| "not measured".to_owned(), number);
        let ends = [0, 1].map(|end| metric["interval"][end].as_f64());
        let interval = match ends {
            [Some(low), Some(high)] => format!("{} to {}", number(low), number(high)),
            _ => String::new(),
        };
        let failed = metric["failed"].as_u64().filter(|failed| *failed > 0);
        let failed = failed.map_or_else(String::new, |failed| format!(" ({failed} failed left out)"));
        let unit = metric["unit"].as_str().unwrap_or_default();
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td class=\"n\">{value}</td><td class=\"n\">{interval}</td><td>{}{failed}</td></tr>",
            escaped(name),
            escaped(unit)
        );
    }
    page.push_str("</tbody></table>\n");
}

fn table(page: &mut String, cases: &[(&str, Case<'_>)]) {
    page.push_str(
        "<h3>Samples</h3><table><thead><tr><th>case</th><th>figure</th><th>median</th><th>95 % interval</th>\
        <th>seeds</th></tr></thead><tbody>\n",
    );
    for (name, case) in cases {
        for figure in case.figures() {
            let values = case.values(figure);
            let middle = median(&values).map_or_else(String::new, number);
            let interval = bootstrap(&values, median).map(|(low, high)| format!("{} to {}", number(low), number(high)));
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td class=\"n\">{middle}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                escaped(name),
                escaped(figure),
                interval.unwrap_or_default(),
                values.len()
            );
        }
        for sample in case.failures() {
            let _ = writeln!(
                page,
                "<tr class=\"failed\"><td>{}</td><td>failed</td><td colspan=\"2\"><pre>{}</pre></td><td class=\"n\">seed {}</td></tr>",
                escaped(name),
                escaped(sample.failure.as_deref().unwrap_or_default()),
                sample.seed
            );
        }
    }
    page.push_str("</tbody></table>\n");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::super::{result::tests::result, suite::Point};
    use super::*;

    /// The names of tags that were closed in another order than they were opened, or not at all.
    fn malformed(page: &str) -> Vec<String> {
        let (mut open, mut wrong) = (Vec::new(), Vec::new());
        for tag in page.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').expect("every tag ends");
            let name = tag.split([' ', '\n']).next().unwrap().trim_end_matches('/');
            if tag.starts_with('!') || tag.ends_with('/') {
            } else if let Some(closed) = name.strip_prefix('/') {
                if open.pop().as_deref() != Some(closed) {
                    wrong.push(closed.to_owned());
                }
            } else {
                open.push(name.to_owned());
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        }
        wrong.extend(open);
        wrong
    }

    fn page() -> String {
        let mut learned = result();
        for sample in learned.samples.iter_mut().filter(|sample| sample.failure.is_none()) {
            let point = |n: u64| Point { tokens: 100 * n, seconds: n as f64, bytes: 7 * n, loss: 5.0 - 0.1 * n as f64 };
            sample.curve = (0..5).map(point).collect();
        }
        html(&[("a <b>.json".to_owned(), learned), ("c.json".to_owned(), result())])
    }

    #[test]
    fn the_page_is_well_formed_and_has_every_case_and_failure() {
        let page = page();
        assert_eq!(malformed(&page), Vec::<String>::new());
        assert_eq!(page.matches("<polyline").count(), 2 * 3, "a line a case against tokens, seconds and bytes");
        for part in ["large &amp; slow", "small", "step_seconds", "exit 1: &lt;out of luck&gt;", "a &lt;b&gt;.json"] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = page().replace("http://www.w3.org/2000/svg", "");
        for reference in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link"] {
            assert!(!page.contains(reference), "{reference}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn results_of_different_machines_are_marked() {
        let mut other = result();
        other.header.hardware.cores += 1;
        let page = html(&[("a".to_owned(), result()), ("b".to_owned(), other)]);
        assert!(page.contains("Not to be compared: the machines differ"));
    }
}
