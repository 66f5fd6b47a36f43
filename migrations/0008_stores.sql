CREATE TABLE `build_submits` (
	`build_id` text PRIMARY KEY NOT NULL,
	`options` text NOT NULL,
	`warnings` text NOT NULL,
	`reason` text,
	`store_words` text,
	FOREIGN KEY (`build_id`) REFERENCES `builds`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `store_keys` (
	`id` text PRIMARY KEY NOT NULL,
	`project_id` text NOT NULL,
	`name` text NOT NULL,
	`store` text NOT NULL,
	`identity` text NOT NULL,
	`apps` text NOT NULL,
	`pools` text NOT NULL,
	`version` integer NOT NULL,
	`key_id` text NOT NULL,
	`sealed` text NOT NULL,
	`set_by` text NOT NULL,
	`set_at` integer NOT NULL,
	FOREIGN KEY (`project_id`) REFERENCES `projects`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `store_keys_name` ON `store_keys` (`project_id`,`name`);--> statement-breakpoint
CREATE INDEX `store_keys_key` ON `store_keys` (`key_id`);--> statement-breakpoint
CREATE TABLE `submission_events` (
	`submission_id` text NOT NULL,
	`number` integer NOT NULL,
	`at` integer NOT NULL,
	`state` text NOT NULL,
	`says` text NOT NULL,
	PRIMARY KEY(`submission_id`, `number`),
	FOREIGN KEY (`submission_id`) REFERENCES `submissions`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `submissions` (
	`id` text PRIMARY KEY NOT NULL,
	`project_id` text NOT NULL,
	`build_id` text NOT NULL,
	`store` text NOT NULL,
	`state` text NOT NULL,
	`transition_id` text NOT NULL,
	`reason` text,
	`store_words` text,
	`warnings` text DEFAULT '[]' NOT NULL,
	`attempt` integer NOT NULL,
	`artifact` text NOT NULL,
	`sha256` text NOT NULL,
	`size` integer NOT NULL,
	`blob` text,
	`app_id` text NOT NULL,
	`version` text NOT NULL,
	`build_number` text NOT NULL,
	`train` text NOT NULL,
	`options` text NOT NULL,
	`store_key_id` text NOT NULL,
	`store_key_version` integer NOT NULL,
	`sent_bytes` integer DEFAULT 0 NOT NULL,
	`created_by_key` text NOT NULL,
	`created_by_root` text NOT NULL,
	`request_name` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`ends_by` integer NOT NULL,
	`ended_at` integer,
	FOREIGN KEY (`blob`) REFERENCES `blobs`(`sha256`) ON UPDATE no action ON DELETE set null
);
--> statement-breakpoint
CREATE UNIQUE INDEX `submissions_number` ON `submissions` (`store`,`app_id`,`train`,`build_number`) WHERE "submissions"."state" NOT IN ('failed', 'cancelled');--> statement-breakpoint
CREATE UNIQUE INDEX `submissions_request` ON `submissions` (`build_id`,`created_by_root`,`request_name`) WHERE "submissions"."request_name" IS NOT NULL;--> statement-breakpoint
CREATE INDEX `submissions_build` ON `submissions` (`build_id`,`created_at`);--> statement-breakpoint
CREATE INDEX `submissions_project` ON `submissions` (`project_id`,`created_at`,`id`);--> statement-breakpoint
CREATE INDEX `submissions_unfinished` ON `submissions` (`ends_by`) WHERE "submissions"."state" IN ('waiting', 'uploading', 'processing');--> statement-breakpoint
CREATE INDEX `submissions_blob` ON `submissions` (`blob`) WHERE "submissions"."blob" IS NOT NULL;