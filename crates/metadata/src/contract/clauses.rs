//! Every clause, by the file it is in; each engine makes a test of each of them.

macro_rules! tests_of {
    ($($room:ident { $($clause:ident,)+ })+) => {
        $(mod $room {
            $(#[tokio::test]
            async fn $clause() {
                super::run(crate::contract::$room::$clause).await;
            })+
        })+
    };
}

macro_rules! clauses {
    ($($list:tt)+) => {
        mod on_sqlite {
            use crate::contract::engines::on_sqlite::run;

            tests_of! { $($list)+ }
        }

        #[cfg(feature = "postgres")]
        mod on_postgres {
            use crate::contract::engines::on_postgres::run;

            tests_of! { $($list)+ }
        }
    };
}

clauses! {
    blobs {
        a_blob_is_given_out_only_where_it_is_a_member,
        a_manifest_of_a_local_repository_is_not_a_blob_of_it,
        a_blob_stored_twice_keeps_its_first_key,
        a_size_that_contradicts_the_digest_is_corruption,
        a_commit_ends_its_upload,
        a_blob_being_deleted_does_not_exist_and_comes_back_under_a_new_key,
        a_blob_is_mounted_from_where_it_is_a_member_and_nowhere_else,
        a_mount_extends_the_lease,
        mount_sources_are_a_few_other_members,
        unlinking_ends_one_membership_only,
    }
    collecting_costs {
        shared_indexes_cost_time_by_their_edges,
        a_batch_that_frees_much_leaves_the_rest_for_the_next,
    }
    collecting_model {
        a_collection_leaves_what_a_look_at_everything_leaves,
    }
    collecting {
        a_blob_nobody_names_goes_after_its_grace_and_not_before,
        a_lease_outlasts_a_grace_of_nothing,
        what_a_manifest_names_stays_and_is_no_candidate_any_more,
        a_deleted_image_takes_its_layers_along_and_leaves_shared_ones,
        the_grace_of_what_a_manifest_named_begins_when_it_is_deleted,
        an_untagged_manifest_stays_until_somebody_asks_for_it,
        a_manifest_that_lost_its_tag_in_any_way_is_a_candidate,
        children_of_a_kept_index_and_referrers_of_a_kept_subject_stay,
        a_manifest_somebody_was_told_of_is_not_deleted_while_it_is_leased,
        what_one_repository_lost_is_not_leased_there_because_another_has_it,
        an_unlinked_blob_goes_and_one_that_is_still_named_stays,
        a_manifest_that_another_names_as_a_layer_stays_with_it,
        an_event_after_the_review_began_counts_anew,
        a_review_of_one_kind_is_no_event_for_the_other,
        the_grace_of_what_a_collection_let_go_begins_with_it,
        nothing_of_a_held_repository_goes_until_it_is_released,
        mirrored_content_is_no_candidate,
        what_an_eviction_could_not_claim_is_found_by_the_collector,
        the_last_manifest_takes_its_repository_out_of_the_catalog,
    }
    imports {
        found_bytes_get_a_row_once_and_what_is_here_keeps_its_own,
        bytes_whose_deletion_broke_off_are_taken_back,
        a_link_is_taken_only_for_what_is_here,
        a_mirrored_tag_that_is_imported_is_due_to_be_asked_for,
        what_is_remembered_of_a_link_is_the_last_that_was_said,
        a_link_that_is_being_written_may_say_what_it_said_until_it_is_settled_or_read,
        a_repository_is_held_until_it_is_sound_and_its_candidates_wake_then,
        an_import_that_ended_is_told_until_the_next_one,
        what_is_idle_is_noted_however_many_repositories_there_are,
        a_repository_is_told_as_its_links_tell_it_with_what_is_remembered,
        bytes_under_a_key_move_to_the_plain_path_once_nothing_is_deleted_there,
    }
    job_lines {
        lines_are_read_in_their_order_and_in_pages,
        a_job_keeps_so_many_lines_and_no_more,
        who_lost_a_job_adds_no_lines_and_forgets_none,
        lines_go_with_their_job_and_only_the_last_jobs_keep_theirs,
    }
    damage {
        a_quarantined_blob_exists_to_nobody,
        a_quarantined_manifest_is_missing_to_those_that_name_it,
        a_quarantine_of_bytes_that_were_replaced_meanwhile_changes_nothing,
        a_push_of_the_same_digest_ends_the_quarantine_in_its_place,
        a_manifest_pushed_again_ends_its_quarantine,
        a_push_under_another_key_gives_the_quarantined_bytes_up,
        a_quarantine_is_lifted_once_and_only_of_the_bytes_that_were_looked_at,
        quarantined_blobs_are_listed_and_counted_until_they_are_right,
        when_bytes_were_checked_is_noted_of_those_that_were_looked_at,
        the_blobs_of_one_repository_are_checked_alone,
        all_repositories_that_hold_or_name_a_digest_are_told,
        a_scrub_that_did_not_end_is_gone_on_with_unless_it_is_too_old,
    }
    consistency {
        places_are_known_in_every_state_and_under_their_key_alone,
        bytes_that_are_entered_are_live_and_wait_for_the_collector,
        bytes_that_are_live_elsewhere_are_superfluous,
        names_that_lead_nowhere_are_told_and_quarantined_bytes_are_somewhere,
        what_the_collector_does_not_know_of_is_told_until_it_does,
    }
    jobs {
        of_many_claimers_each_job_has_one,
        an_ended_claim_is_taken_over_and_its_holder_is_not_heard,
        a_held_job_is_not_taken_over,
        nobody_takes_a_job_over_from_himself,
        the_same_job_is_open_once_and_can_come_again_when_it_ended,
        a_postponed_job_comes_back_after_its_pause,
        a_start_puts_back_what_a_former_process_ran,
        ended_jobs_are_forgotten_by_age_and_by_number_and_open_ones_never,
        a_tick_becomes_a_job_once,
        a_schedule_followed_by_a_wrong_clock_starts_anew,
    }
    leases {
        a_lease_is_written_only_when_less_than_half_remains,
        a_lease_on_what_does_not_exist_is_refused,
        a_lease_is_never_shortened,
        a_push_extends_the_lease_of_the_manifest_and_all_it_names,
        leases_end_no_earlier_when_the_wall_clock_jumps,
    }
    manifests {
        a_manifest_is_found_by_its_tags_and_its_digest,
        a_manifest_is_found_only_in_its_repository,
        a_manifest_being_deleted_is_not_found,
        a_push_moves_its_tags,
        deleting_a_manifest_deletes_its_tags_and_nothing_else,
        a_deleted_and_repushed_manifest_is_back_without_its_tags,
        deleting_the_last_manifest_takes_the_repository_out_of_the_lists,
        whether_a_repository_was_ever_mirrored_is_told_by_its_manifests,
    }
    mirrors {
        a_mirror_reaches_what_its_manifests_name_without_being_a_member,
        a_local_repository_reaches_members_only,
        a_blob_becomes_a_member_once_linked,
        a_fetched_blob_is_a_member_of_its_mirror,
    }
    pulls {
        a_pull_is_kept_by_tag_and_by_digest_and_the_latest_wins,
        no_pull_lies_in_the_future,
        a_pull_of_what_is_not_here_leaves_nothing,
        a_mirrored_blob_that_is_pulled_directly_has_its_own,
        a_deleted_tag_and_a_deleted_manifest_take_their_pulls_along,
        the_lists_of_what_is_mirrored_tell_the_pulls_and_leave_out_what_is_local,
    }
    pushes {
        references_must_be_in_the_same_repository,
        missing_references_are_counted_once_and_the_first_are_named,
        a_refused_push_leaves_nothing,
        a_wrong_size_is_named_with_both_numbers,
        a_foreign_reference_need_not_be_here,
        a_child_must_be_a_manifest_and_a_manifest_may_be_a_layer,
        a_reference_being_deleted_is_missing,
        a_mirror_stores_what_it_has_not_fetched_the_parts_of,
        pushing_the_same_manifest_again_changes_nothing_but_its_lease,
    }
    reclaim {
        an_evicted_image_is_gone_and_its_bytes_are_claimed,
        what_another_image_or_repository_names_is_not_claimed,
        what_a_local_repository_holds_is_not_claimed,
        nothing_is_evicted_from_a_local_repository,
        a_lease_keeps_what_it_protects_until_it_ends,
        a_pull_since_the_choice_keeps_an_image,
        a_blob_that_could_not_be_claimed_stays_a_member_so_that_it_is_found,
        claimed_blobs_are_listed_until_they_are_forgotten,
        a_key_being_deleted_is_not_taken_again,
        a_place_is_taken_while_a_row_in_any_state_has_its_bytes_there,
    }
    referrers {
        a_referrer_is_told_with_its_type_and_annotations,
        referrers_are_paged_by_digest_and_filtered_by_type,
        referrers_are_those_of_the_repository_asked,
        a_deleted_referrer_is_no_longer_listed,
    }
    repositories {
        an_unknown_repository_is_nothing,
        a_repository_without_manifests_is_in_no_list,
        a_repository_tells_its_kind_and_its_upstream,
        the_catalog_sorts_the_slash_first_and_pages_by_name,
        a_repositorys_kind_never_changes,
    }
    tag_moves {
        a_tag_keeps_its_moves_with_when_and_by_whom,
        what_a_tag_was_is_forgotten_a_year_after_it_was_deleted,
        a_tag_that_stays_where_it_is_has_not_moved,
        a_deleted_manifest_moves_every_tag_it_had,
        a_refused_push_moves_nothing,
        a_mirrored_tag_moves_when_its_upstream_moves_it_and_not_when_it_is_evicted,
        moves_are_paged_from_the_latest_and_found_by_digest,
        the_newest_moves_of_a_tag_are_kept_and_its_neighbours_are_not_touched,
    }
    tags {
        tags_are_listed_bytewise_and_paged_by_name,
        the_tags_of_an_unknown_repository_are_not_an_empty_list,
        a_tag_is_deleted_without_its_manifest,
        a_tag_is_set_only_to_a_manifest_of_its_repository,
        a_tag_is_confirmed_only_while_it_points_there,
    }
    upkeep {
        after_an_end_in_order_nothing_is_held_back,
        after_another_end_local_content_is_held_back_for_one_lease,
        a_second_end_of_that_kind_begins_the_time_again_and_never_shortens_it,
        what_was_only_ever_mirrored_goes_on_being_evicted,
        while_an_import_is_under_way_nothing_goes,
        a_pause_and_a_report_are_kept,
    }
    uploads {
        an_upload_keeps_what_it_was_given_and_moves_on,
        an_upload_id_is_used_once,
        of_two_racers_exactly_one_advances,
        an_ended_upload_cannot_advance,
        open_uploads_are_listed_with_their_purpose,
        a_client_begins_no_more_uploads_than_it_may_have_open,
        of_many_begun_at_once_no_more_are_open_than_may,
        idle_uploads_of_clients_are_told_and_ended_unless_they_moved_on,
    }
}
