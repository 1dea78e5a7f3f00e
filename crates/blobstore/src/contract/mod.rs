//! What every driver promises, one function per clause; a clause panics when the store breaks it.
//!
//! A driver's tests say `contract_suite!(run)` once, where `run` is a `fn(fn(&dyn BlobStore))` that gives the clause
//! a store of its own, empty at the start. Clauses use nothing but the trait.

pub mod blobs;
pub mod publishing;
mod steps;
pub mod uploads;

/// Makes a test of every clause. The argument is the path of a `fn(fn(&dyn BlobStore))` that runs one clause against
/// a fresh, empty store.
#[macro_export]
macro_rules! contract_suite {
    ($run:path) => {
        $crate::contract_suite!(@clauses $run, blobs, [
            a_blob_that_was_never_published_is_not_found,
            published_bytes_are_read_back_exactly,
            an_empty_blob_is_a_blob,
            digests_of_every_algorithm_have_their_place,
            keys_of_one_digest_are_separate_blobs,
            a_deleted_blob_is_not_found,
            deleting_a_blob_that_is_not_there_is_fine,
            an_open_blob_outlives_its_deletion,
            a_deleted_blob_can_be_published_again,
            every_blob_is_visited_once_with_its_size,
            a_visit_ends_when_the_visitor_breaks,
            open_uploads_are_not_visited,
        ]);
        $crate::contract_suite!(@clauses $run, uploads, [
            a_begun_upload_is_listed_until_it_is_aborted,
            aborting_an_upload_that_is_not_there_is_fine,
            beginning_an_upload_that_exists_is_refused,
            an_upload_that_is_not_there_cannot_be_appended_to,
            an_upload_continues_where_its_last_flush_ended,
            one_appender_can_flush_many_times,
            bytes_past_the_offset_are_cut,
            an_upload_can_be_started_over,
            an_upload_with_fewer_bytes_than_the_offset_is_too_short,
            a_state_of_unknown_format_is_refused,
            a_growing_upload_can_be_read,
        ]);
        $crate::contract_suite!(@clauses $run, publishing, [
            an_upload_that_is_not_there_cannot_be_published,
            an_upload_of_fewer_bytes_is_not_published,
            an_upload_of_more_bytes_is_not_published,
            publishing_replaces_what_was_there,
            publishing_the_same_upload_again_does_no_harm,
            an_upload_that_was_not_published_is_no_blob,
            an_upload_that_stays_tells_the_blobs_it_was_published_as,
            a_blob_that_was_replaced_or_deleted_is_no_longer_the_uploads,
            aborting_after_publishing_leaves_the_blob,
            a_published_upload_that_goes_on_leaves_the_blob_alone,
            an_appender_left_open_cannot_change_what_is_published,
            a_second_appender_cannot_change_what_the_first_flushed,
        ]);
    };
    (@clauses $run:path, $module:ident, [$($clause:ident,)*]) => {
        $(
            #[test]
            fn $clause() {
                $run($crate::contract::$module::$clause);
            }
        )*
    };
}
