ALTER TABLE `attempts` ADD `handed_back` integer DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE `builds` ADD `hand_backs` integer DEFAULT 0 NOT NULL;