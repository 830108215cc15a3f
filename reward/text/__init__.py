"""Text as features: dialogues are read, a frozen encoder on this machine makes numbers of them, a reward is the head.

The encoder is the user's: a folder with a tokenizer and an ONNX or a sentence-transformers model. Nothing is ever
downloaded, and no code that the folder may hold is run. It is named by the digest of its files, and so is every number
that it made: cached under that digest and the text's, and told in the artifact.

    dialogues   rows with `chosen` and `rejected`, prompts and completions, messages → prompt and reply
    pooling     what is made of the numbers for each token; what the folder says of it
    encoder     the folder → an encoder
    cache       vectors by digest
    embedding   a table of texts → a table of features (`spec_lang.tables` checks it like any other)
    perturb     texts that say the same: a pleasantry more, a sentence twice, paraphrases that the user lists

onnxruntime and tokenizers (and transformers, for models without ONNX) are extras, imported where they are used.
"""
