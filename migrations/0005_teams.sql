CREATE TABLE `build_origins` (
	`build_id` text PRIMARY KEY NOT NULL,
	`origin` text NOT NULL,
	FOREIGN KEY (`build_id`) REFERENCES `builds`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `blob_holds` (
	`holder` text NOT NULL,
	`sha256` text NOT NULL,
	`touched_at` integer NOT NULL,
	PRIMARY KEY(`holder`, `sha256`),
	FOREIGN KEY (`sha256`) REFERENCES `blobs`(`sha256`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `blob_holds_blob` ON `blob_holds` (`sha256`);--> statement-breakpoint
CREATE TABLE `project_load` (
	`project_id` text NOT NULL,
	`trusted` integer NOT NULL,
	`pool` text NOT NULL,
	`platform` text NOT NULL,
	`queued` integer NOT NULL,
	`active` integer NOT NULL,
	PRIMARY KEY(`project_id`, `trusted`, `pool`, `platform`)
);
--> statement-breakpoint
CREATE INDEX `project_load_pool` ON `project_load` (`pool`,`platform`);--> statement-breakpoint
CREATE TABLE `projects` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`created_at` integer NOT NULL,
	`created_by` text,
	`max_active` integer,
	`max_queued_untrusted` integer DEFAULT 20 NOT NULL,
	`deleted_at` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `projects_name` ON `projects` (`name`) WHERE "projects"."deleted_at" IS NULL;--> statement-breakpoint
CREATE INDEX `projects_created_by` ON `projects` (`created_by`,`created_at`);--> statement-breakpoint
CREATE INDEX `projects_deleted` ON `projects` (`deleted_at`) WHERE "projects"."deleted_at" IS NOT NULL;--> statement-breakpoint
CREATE TABLE `secrets` (
	`id` text PRIMARY KEY NOT NULL,
	`project_id` text NOT NULL,
	`pool` text NOT NULL,
	`name` text NOT NULL,
	`path` text,
	`version` integer NOT NULL,
	`key_id` text NOT NULL,
	`sealed` text NOT NULL,
	`set_by` text NOT NULL,
	`set_at` integer NOT NULL,
	`used_by` text DEFAULT '[]' NOT NULL,
	`used_at` integer,
	FOREIGN KEY (`project_id`) REFERENCES `projects`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `secrets_name` ON `secrets` (`project_id`,`pool`,`name`);--> statement-breakpoint
CREATE INDEX `secrets_key` ON `secrets` (`key_id`);--> statement-breakpoint
CREATE TABLE `pools` (
	`name` text PRIMARY KEY NOT NULL,
	`trusted` integer DEFAULT true NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `worker_pools` (
	`worker_id` text NOT NULL,
	`pool` text NOT NULL,
	`rank` integer NOT NULL,
	PRIMARY KEY(`worker_id`, `pool`),
	FOREIGN KEY (`worker_id`) REFERENCES `workers`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `worker_pools_pool` ON `worker_pools` (`pool`,`worker_id`);--> statement-breakpoint
DROP INDEX `builds_queue`;--> statement-breakpoint
ALTER TABLE `builds` ADD `project_id` text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE `builds` ADD `trusted` integer DEFAULT true NOT NULL;--> statement-breakpoint
ALTER TABLE `builds` ADD `uses_secrets` integer DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE `builds` ADD `cache_mode` text DEFAULT 'none' NOT NULL;--> statement-breakpoint
ALTER TABLE `builds` ADD `created_by_root` text;--> statement-breakpoint
ALTER TABLE `builds` ADD `group_name` text;--> statement-breakpoint
ALTER TABLE `builds` ADD `superseded_by` text;--> statement-breakpoint
ALTER TABLE `builds` ADD `repository` text;--> statement-breakpoint
ALTER TABLE `builds` ADD `branch` text;--> statement-breakpoint
ALTER TABLE `builds` ADD `commit_sha` text;--> statement-breakpoint
ALTER TABLE `builds` ADD `pull_request` integer;--> statement-breakpoint
CREATE INDEX `builds_active` ON `builds` (`project_id`) WHERE "builds"."status" IN ('assigned', 'building');--> statement-breakpoint
CREATE INDEX `builds_project` ON `builds` (`project_id`,`created_at`,`id`);--> statement-breakpoint
CREATE INDEX `builds_branch` ON `builds` (`project_id`,`branch`,`created_at`) WHERE "builds"."branch" IS NOT NULL;--> statement-breakpoint
CREATE INDEX `builds_commit` ON `builds` (`project_id`,`commit_sha`,`created_at`) WHERE "builds"."commit_sha" IS NOT NULL;--> statement-breakpoint
CREATE INDEX `builds_pull_request` ON `builds` (`project_id`,`pull_request`,`created_at`) WHERE "builds"."pull_request" IS NOT NULL;--> statement-breakpoint
CREATE INDEX `builds_group` ON `builds` (`project_id`,`group_name`,`created_at`) WHERE "builds"."group_name" IS NOT NULL;--> statement-breakpoint
CREATE INDEX `builds_queue` ON `builds` (`status`,`pool`,`platform`,`project_id`,`trusted`,`queue_rank`,`queued_at`);--> statement-breakpoint
ALTER TABLE `attempts` ADD `secrets` text;--> statement-breakpoint
ALTER TABLE `audit` ADD `project_id` text;--> statement-breakpoint
ALTER TABLE `audit` ADD `denied` integer DEFAULT false NOT NULL;--> statement-breakpoint
CREATE INDEX `audit_project` ON `audit` (`project_id`,`id`);--> statement-breakpoint
ALTER TABLE `keys` ADD `rights` text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE `outbox` ADD `superseded_by` text;--> statement-breakpoint
ALTER TABLE `outbox` ADD `project_id` text;--> statement-breakpoint
INSERT INTO `projects` (`id`, `name`, `created_at`) VALUES ('prj_default', 'default', unixepoch() * 1000);--> statement-breakpoint
INSERT INTO `projects` (`id`, `name`, `created_at`)
	SELECT 'prj_' || lower(hex(randomblob(10))), `name`, unixepoch() * 1000
	FROM (SELECT `project` AS `name` FROM `builds` UNION SELECT `project` FROM `histories`)
	WHERE `name` IS NOT NULL AND `name` NOT IN ('', 'default');--> statement-breakpoint
UPDATE `builds` SET
	`project_id` = coalesce((SELECT `id` FROM `projects` WHERE `name` = `builds`.`project`), 'prj_default'),
	`created_by_root` = coalesce((SELECT coalesce(`root_id`, `id`) FROM `keys` WHERE `id` = `created_by_key`), `created_by_key`),
	`queue_rank` = -2 * `priority` - (`queue_rank` = -1000);--> statement-breakpoint
UPDATE OR IGNORE `idempotency` SET
	`project` = coalesce((SELECT `id` FROM `projects` WHERE `name` = `idempotency`.`project`), 'prj_default');--> statement-breakpoint
UPDATE `histories` SET `project` = (SELECT `id` FROM `projects` WHERE `name` = `histories`.`project`)
	WHERE `project` IN (SELECT `name` FROM `projects`);--> statement-breakpoint
UPDATE `keys` SET `rights` = json_object(
	'projects', '*', 'pools', CASE WHEN `pools` IS NULL THEN '*' ELSE json(`pools`) END,
	'trusted', json('true'), 'maxPriority', 100, 'may', json('[]')) WHERE `scope` IN ('admin', 'submit');--> statement-breakpoint
INSERT INTO `pools` (`name`, `created_at`)
	SELECT `name`, unixepoch() * 1000 FROM (
		SELECT `pool` AS `name` FROM `workers` UNION SELECT `pool` FROM `builds`
		UNION SELECT `value` FROM `keys`, json_each(`keys`.`pools`));--> statement-breakpoint
INSERT INTO `worker_pools` (`worker_id`, `pool`, `rank`)
	SELECT `id`, `pool`, 0 FROM `workers` WHERE `removed_at` IS NULL;--> statement-breakpoint
INSERT INTO `blob_holds` (`holder`, `sha256`, `touched_at`)
	SELECT `project_id`, `sha256`, `touched_at` FROM `builds` JOIN `blobs` ON `sha256` = `source_blob`
	UNION SELECT `worker_id`, `blobs`.`sha256`, `touched_at` FROM `artifacts`
		JOIN `attempts` USING (`build_id`, `attempt`) JOIN `blobs` ON `blobs`.`sha256` = `artifacts`.`sha256`;--> statement-breakpoint
INSERT INTO `project_load` (`project_id`, `trusted`, `pool`, `platform`, `queued`, `active`)
	SELECT `project_id`, `trusted`, `pool`, `platform`, sum(`status` = 'queued'), sum(`status` != 'queued') FROM `builds`
	WHERE `status` IN ('queued', 'assigned', 'building') GROUP BY 1, 2, 3, 4;--> statement-breakpoint
CREATE TRIGGER `load_of_new_build` AFTER INSERT ON `builds` WHEN NEW.`status` IN ('queued', 'assigned', 'building')
BEGIN
	INSERT INTO `project_load` (`project_id`, `trusted`, `pool`, `platform`, `queued`, `active`)
		VALUES (NEW.`project_id`, NEW.`trusted`, NEW.`pool`, NEW.`platform`, NEW.`status` = 'queued', NEW.`status` != 'queued')
		ON CONFLICT DO UPDATE SET `queued` = `queued` + excluded.`queued`, `active` = `active` + excluded.`active`;
END;--> statement-breakpoint
CREATE TRIGGER `load_of_changed_build` AFTER UPDATE OF `status` ON `builds`
	WHEN (OLD.`status` = 'queued', OLD.`status` IN ('assigned', 'building'))
		IS NOT (NEW.`status` = 'queued', NEW.`status` IN ('assigned', 'building'))
BEGIN
	UPDATE `project_load` SET
		`queued` = `queued` + (NEW.`status` = 'queued') - (OLD.`status` = 'queued'),
		`active` = `active` + (NEW.`status` IN ('assigned', 'building')) - (OLD.`status` IN ('assigned', 'building'))
		WHERE `project_id` = OLD.`project_id` AND `trusted` = OLD.`trusted` AND `pool` = OLD.`pool`
			AND `platform` = OLD.`platform`;
END;--> statement-breakpoint
CREATE TRIGGER `load_of_moved_build` AFTER UPDATE OF `project_id` ON `builds`
	WHEN NEW.`project_id` != OLD.`project_id` AND NEW.`status` IN ('queued', 'assigned', 'building')
BEGIN
	UPDATE `project_load` SET
		`queued` = `queued` - (NEW.`status` = 'queued'), `active` = `active` - (NEW.`status` != 'queued')
		WHERE `project_id` = OLD.`project_id` AND `trusted` = OLD.`trusted` AND `pool` = OLD.`pool`
			AND `platform` = OLD.`platform`;
	INSERT INTO `project_load` (`project_id`, `trusted`, `pool`, `platform`, `queued`, `active`)
		VALUES (NEW.`project_id`, NEW.`trusted`, NEW.`pool`, NEW.`platform`, NEW.`status` = 'queued', NEW.`status` != 'queued')
		ON CONFLICT DO UPDATE SET `queued` = `queued` + excluded.`queued`, `active` = `active` + excluded.`active`;
END;
