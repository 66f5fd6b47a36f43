ALTER TABLE `keys` ADD `rotated_by` text;--> statement-breakpoint
-- Written by hand: the audit tells who asked for a rotation, right after the new key was made.
WITH `rotations` AS MATERIALIZED (SELECT `at`, `key_id`, `target` FROM `audit` WHERE `action` = 'key.rotate')
UPDATE `keys` SET `rotated_by` = (
	SELECT `key_id` FROM `rotations` WHERE `target` = `keys`.`rotated_from` AND `at` >= `keys`.`created_at` ORDER BY `at` LIMIT 1
) WHERE `rotated_from` IS NOT NULL;
