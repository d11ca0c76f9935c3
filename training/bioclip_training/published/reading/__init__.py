"""What readers of published layouts share: large tables, JSON of COCO, joins, image files on disk, and values."""
