"""Names of the columns that a table has where a study asks questions."""

TRY_COLUMNS = ("embedding_rank", "attention_rank", "extraction_lr")
PEOPLE_COLUMNS = ("people_memorised", "people_extractable", "people_extractable_low", "people_extractable_high")
SHARE_COLUMNS = ("memorised", "extractable", "extractable_first_token", "memorised_after")
EXTRACTION_BITS = ("bits_memorised", "bits_extractable", "R_extractable")
EXTRACTION_NUMBERS = (*TRY_COLUMNS, *PEOPLE_COLUMNS, *SHARE_COLUMNS, *EXTRACTION_BITS)
EXTRACTION_COLUMNS = ("extraction", *EXTRACTION_NUMBERS, "answers_id")
