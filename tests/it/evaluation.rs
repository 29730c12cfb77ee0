//! The few-label evaluation against a plain one, written without any of its machinery.

use crate::common::{digits, small};
use diabolo::data::draws::{Sampling, nested_draws};
use diabolo::data::mnist;
use diabolo::device::Backend;
use diabolo::device::cpu::Cpu;
use diabolo::evaluate::{
    Distance, Draws, Features, FewLabel, Knn, Labels, Origin, Representation, Rows, Search,
    classify, few_label, majority, neighbours, summarise,
};
use diabolo::kernels::nearest;
use diabolo::progress::unwatched;

fn cpu() -> Backend {
    Backend::Cpu(Cpu::<f32>::team(0).expect("threads"))
}

/// Accuracy of 1-NN, every distance computed on its own in f64.
fn plain(
    train: &dyn Rows,
    labels: &[u8],
    draw: &[u32],
    test: &dyn Rows,
    truth: &[u8],
    cosine: bool,
) -> f64 {
    let row = |rows: &dyn Rows, index: usize| -> Vec<f64> {
        let mut row = vec![0.0; rows.width()];
        rows.copy(index, &mut row).expect("in memory");
        row.into_iter().map(f64::from).collect()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let references: Vec<_> = draw.iter().map(|&i| (i, row(train, i as usize))).collect();
    let hits = (0..test.count()).filter(|&query| {
        let x = row(test, query);
        let distance = |y: &[f64]| match cosine {
            true => 1.0 - dot(&x, y) / (dot(&x, &x) * dot(y, y)).sqrt(),
            false => x.iter().zip(y).map(|(a, b)| (a - b) * (a - b)).sum(),
        };
        let nearest = references
            .iter()
            .map(|(i, y)| (distance(y), *i))
            .min_by(|a, b| a.partial_cmp(b).expect("finite"));
        labels[nearest.expect("not empty").1 as usize] == truth[query]
    });
    hits.count() as f64 / test.count() as f64
}

#[test]
fn accuracies_are_those_of_a_plain_search() {
    let data = digits();
    // Some other representation: every 28-pixel row's mean.
    let means = |images: &diabolo::data::Images| {
        let pixels = images.to_f32().expect("in memory");
        let means = pixels.chunks(28).map(|row| row.iter().sum::<f32>() / 28.0);
        Features {
            width: 28,
            values: means.collect(),
        }
    };
    let (train, test) = (means(&data.train), means(&data.test));
    let setting = FewLabel {
        labels: small().evaluate.labels,
        draws: 3,
        sampling: Sampling::Uniform,
        seed: 9,
    };
    let labels = Labels::from(&data);
    let representations: [Representation; 2] = [
        ("pixels", &data.train as &dyn Rows, &data.test as &dyn Rows),
        ("means", &train, &test),
    ]
    .map(|(name, train, test)| Representation { name, train, test });
    let origin = Origin {
        system: "means of rows".to_owned(),
        seed: 9,
        fold: None,
    };
    let rows = few_label(
        &cpu(),
        &[&Knn],
        &representations,
        labels,
        &setting,
        &origin,
        &mut unwatched,
    );
    let rows = rows.expect("runs");
    // Three draws of 20 and of 50, one of everything; two distances, two ways to vote.
    assert_eq!(rows.len(), 2 * (3 + 3 + 1) * 4);

    let draws = nested_draws(&data.train_labels, 10, &[20, 50], 3, Sampling::Uniform, 9);
    let draws = draws.expect("enough labels");
    let everything: Vec<u32> = (0..600).collect();
    let mut compared = 0;
    for row in rows.iter().filter(|row| row.judge.starts_with("knn-1-")) {
        assert_eq!((row.system.as_str(), row.seed), ("means of rows", 9));
        let (count, draw) = (row.labels.expect("some"), row.draw.expect("one"));
        let draw = if count == 600 {
            &everything
        } else {
            &draws[draw]
        };
        let of = representations
            .iter()
            .find(|of| of.name == row.representation);
        let of = of.expect("one of them");
        let is_cosine = row.judge.ends_with("cosine");
        let expected = plain(
            of.train,
            labels.train,
            &draw[..count],
            of.test,
            labels.test,
            is_cosine,
        );
        assert_eq!(row.value, expected, "{row:?}");
        compared += 1;
    }
    assert_eq!(compared, 2 * 7 * 2);
    let summary = summarise(&rows);
    assert_eq!(summary.len(), 3 * 4 * 2);
    assert!(
        summary
            .iter()
            .all(|row| row.gain.is_some() == (row.representation == "means"))
    );
}

#[test]
fn neighbours_among_chunks_of_references_are_those_of_f64_but_for_ties_within_rounding() {
    /// Squared norms are below 784, and rounding in f32 goes with them; cosines are below 1.
    const ROUNDING: [f64; 2] = [1e-3, 1e-5];
    let mut data = mnist::load().expect("bundled");
    data.truncate(3000, 40); // three chunks and more on the CPU
    let (train, test) = (&data.train, &data.test);
    let row = |rows: &dyn Rows, index: usize| -> Vec<f64> {
        let mut row = vec![0.0; rows.width()];
        rows.copy(index, &mut row).expect("in memory");
        row.into_iter().map(f64::from).collect()
    };
    let references: Vec<_> = (0..train.count()).map(|i| row(train, i)).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();

    // Everything, and a draw of every other reference from the last on.
    let everything = train.count();
    let draw: Vec<u32> = (0..everything as u32).rev().step_by(2).collect();
    let groups = [(1, vec![everything]), (1, vec![100, draw.len()])];
    let shape = [test.count(), everything, train.width()];
    let mut search = Search::new(&cpu(), shape, &Distance::ALL, nearest::K, &groups).expect("fits");
    search.set_references(train, 0..everything).expect("copied");
    let draws = Draws {
        lists: vec![draw.clone()],
        sizes: groups[1].1.clone(),
    };
    search.set_draws(1, &draws).expect("fits");
    let found = search.run(test, 0..test.count()).expect("runs");

    for query in 0..test.count() {
        let x = row(test, query);
        for (index, distance) in Distance::ALL.into_iter().enumerate() {
            let exact: Vec<f64> = references
                .iter()
                .map(|y| match distance {
                    Distance::Euclidean => dot(&x, &x) - 2.0 * dot(&x, y) + dot(y, y),
                    Distance::Cosine => 1.0 - dot(&x, y) / (dot(&x, &x) * dot(y, y)).sqrt(),
                })
                .collect();
            let all: Vec<u32> = (0..everything as u32).collect();
            for (group, size, among) in [(0, 0, &all[..]), (1, 0, &draw[..100]), (1, 1, &draw[..])]
            {
                let neighbours = found[group][index].neighbours(query, 0, size);
                let mut sorted = among.to_vec();
                sorted.sort_by(|&a, &b| exact[a as usize].total_cmp(&exact[b as usize]));
                let mut distinct = neighbours.to_vec();
                distinct.sort();
                distinct.dedup();
                assert_eq!(distinct.len(), nearest::K);
                for (&got, &expected) in neighbours.iter().zip(&sorted) {
                    let error = exact[got as usize] - exact[expected as usize];
                    assert!(among.contains(&got));
                    assert!(
                        error.abs() <= ROUNDING[index],
                        "query {query}, {distance:?}: {got} for {expected}, {error} farther"
                    );
                }
            }
        }
    }
}

#[test]
fn a_search_of_drawn_rows_alone_answers_as_one_of_all_rows() {
    let mut data = mnist::load().expect("bundled");
    data.truncate(3000, 40);
    let all: Vec<u32> = (0..3000).collect();
    // Every row stands for three, so that many are equally near.
    let source = |&index: &u32| index as usize / 3;
    let sizes = vec![10, 40];
    let lists = nested_draws(&data.train_labels, 10, &sizes, 20, Sampling::Uniform, 5);
    let lists = lists.expect("enough labels");
    let draws = Draws { lists, sizes };
    let used = Draws::used(std::slice::from_ref(&draws));
    assert!(used.is_sorted() && used.len() < 800);

    let search = |rows: &[u32], draws: &Draws| {
        let shape = [data.test.count, rows.len(), data.train.width()];
        let groups = [(draws.lists.len(), draws.sizes.clone())];
        let mut search = Search::new(&cpu(), shape, &Distance::ALL, nearest::K, &groups);
        let search = search.as_mut().expect("fits");
        search
            .set_references(&data.train, rows.iter().map(source))
            .expect("copied");
        search.set_draws(0, draws).expect("fits");
        let found = search.run(&data.test, 0..data.test.count).expect("runs");
        let mut lists = Vec::new();
        for query in 0..data.test.count {
            for found in &found[0] {
                for (draw, size) in (0..20).flat_map(|draw| [(draw, 0), (draw, 1)]) {
                    let neighbours = found.neighbours(query, draw, size).iter();
                    lists.push(neighbours.map(|&i| rows[i as usize]).collect::<Vec<_>>());
                }
            }
        }
        lists
    };
    assert_eq!(search(&used, &draws.among(&used)), search(&all, &draws));
}

#[test]
fn a_search_of_all_alone_which_filters_finds_what_one_beside_draws_finds() {
    let mut data = mnist::load().expect("bundled");
    data.truncate(8500, 100); // with fewer references than 8192, nothing is filtered
    let features = |rows: &dyn Rows| {
        let mut values = vec![0.0; rows.count() * rows.width()];
        for (index, row) in values.chunks_exact_mut(rows.width()).enumerate() {
            rows.copy(index, row).expect("in memory");
        }
        Features {
            width: rows.width(),
            values,
        }
    };
    let [mut train, test] = [&data.train, &data.test].map(|rows| features(rows));
    let width = train.width;
    // Ties: every fourth is the one before. And what has no distance, or none worth the name.
    let (clean, unclean) = train.values.split_at_mut(8400 * width);
    for rows in clean.chunks_exact_mut(4 * width) {
        rows.copy_within(2 * width..3 * width, 3 * width);
    }
    for (row, value) in unclean
        .chunks_exact_mut(width)
        .zip([f32::NAN, f32::INFINITY, 1e19, 0.0].iter().cycle())
    {
        row[300..].fill(*value);
    }
    for (count, k) in [(8400, 5), (8400, nearest::K), (8500, nearest::K), (3, 5)] {
        let shape = [test.count(), count, width];
        let search = |groups: &[(usize, Vec<usize>)]| {
            let backend = cpu();
            let mut search = Search::new(&backend, shape, &Distance::ALL, k, groups).expect("fits");
            search.set_references(&train, 0..count).expect("copied");
            if let Some((_, sizes)) = groups.get(1) {
                let draws = Draws {
                    lists: vec![vec![0; sizes[0]]],
                    sizes: sizes.clone(),
                };
                search.set_draws(1, &draws).expect("fits");
            }
            let found = search.run(&test, 0..test.count()).expect("runs").remove(0);
            let lists = found.iter().flat_map(|found| {
                (0..test.count()).map(|query| found.neighbours(query, 0, 0).to_vec())
            });
            lists.collect::<Vec<_>>()
        };
        let all = (1, vec![count]);
        let filtered = search(std::slice::from_ref(&all));
        assert!(filtered.iter().all(|list| list.len() == k.min(count)));
        assert_eq!(filtered, search(&[all, (1, vec![1])]), "{k} of {count}");
    }
}

#[test]
fn more_labels_than_there_are_is_an_error_before_any_work() {
    let data = digits();
    let setting = FewLabel {
        labels: vec![601],
        draws: 3,
        sampling: Sampling::Uniform,
        seed: 9,
    };
    let message = setting
        .groups(Labels::from(&data))
        .expect_err("too many")
        .to_string();
    assert!(
        message.contains("601") && message.contains("600"),
        "{message}"
    );
}

#[test]
fn neighbours_and_classes_in_one_call_are_those_of_a_plain_search() {
    let data = digits();
    let values = |images: &diabolo::data::Images| Features {
        width: images.features(),
        values: images.to_f32().expect("in memory"),
    };
    let (train, test) = (values(&data.train), values(&data.test));
    let row =
        |rows: &Features, index: usize| rows.values[index * rows.width..][..rows.width].to_vec();
    let squared = |x: &[f32], y: &[f32]| -> f64 {
        let pairs = x.iter().zip(y);
        pairs
            .map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2))
            .sum()
    };
    let lists = neighbours(&cpu(), &train, &test, 5, Distance::Euclidean).expect("searches");
    let classes = classify(
        &cpu(),
        &train,
        &data.train_labels,
        &test,
        5,
        Distance::Euclidean,
    );
    let classes = classes.expect("classifies");
    assert_eq!([lists.len(), classes.len()], [test.count(); 2]);
    for (query, (list, class)) in lists.iter().zip(classes).enumerate() {
        let x = row(&test, query);
        let mut order: Vec<usize> = (0..train.count()).collect();
        order.sort_by(|&a, &b| {
            let (a, b) = (row(&train, a), row(&train, b));
            squared(&x, &a).total_cmp(&squared(&x, &b))
        });
        let plain: Vec<u32> = order[..5].iter().map(|&index| index as u32).collect();
        assert_eq!(*list, plain, "query {query}");
        let votes = plain.iter().map(|&index| data.train_labels[index as usize]);
        assert_eq!(Some(class), majority(votes));
    }

    // More neighbours than references, and what cannot be searched.
    let few = Features {
        width: 2,
        values: vec![0.0, 1.0, 1.0, 1.0],
    };
    let all = neighbours(&cpu(), &few, &few, 16, Distance::Cosine).expect("searches");
    assert_eq!(all, [[0, 1], [1, 0]]);
    let none = Features {
        width: 2,
        values: vec![],
    };
    let nothing: Vec<Vec<u32>> =
        neighbours(&cpu(), &few, &none, 1, Distance::Cosine).expect("none");
    assert!(nothing.is_empty());
    for (references, k, labels) in [
        (&none, 1, 0),
        (&few, 0, 2),
        (&few, 17, 2),
        (&few, 1, 3),
        (&train, 1, 600),
    ] {
        let refused = classify(
            &cpu(),
            references,
            &vec![0; labels],
            &few,
            k,
            Distance::Cosine,
        );
        assert!(
            refused.is_err(),
            "{} references, k = {k}",
            references.count()
        );
    }
}
