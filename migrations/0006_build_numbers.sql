CREATE TABLE `build_numbers` (
	`project_id` text NOT NULL,
	`platform` text NOT NULL,
	`app_id` text NOT NULL,
	`value` integer NOT NULL,
	`seeded_by` text,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`project_id`, `platform`, `app_id`),
	FOREIGN KEY (`project_id`) REFERENCES `projects`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
ALTER TABLE `audit` ADD `detail` text;--> statement-breakpoint
ALTER TABLE `builds` ADD `project_root` text;--> statement-breakpoint
ALTER TABLE `builds` ADD `app_id` text;--> statement-breakpoint
ALTER TABLE `builds` ADD `app_version` text;--> statement-breakpoint
ALTER TABLE `builds` ADD `app_build_number` integer;--> statement-breakpoint
ALTER TABLE `builds` ADD `build_number` integer;