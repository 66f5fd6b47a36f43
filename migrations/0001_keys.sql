CREATE TABLE `audit` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`at` integer NOT NULL,
	`key_id` text NOT NULL,
	`key_name` text NOT NULL,
	`action` text NOT NULL,
	`target` text
);
--> statement-breakpoint
CREATE TABLE `enrolments` (
	`hash` text PRIMARY KEY NOT NULL,
	`worker_id` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`key_id` text,
	FOREIGN KEY (`worker_id`) REFERENCES `workers`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
ALTER TABLE `keys` ADD `pools` text;