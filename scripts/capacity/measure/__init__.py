"""One question about one model: how much does it remember beside a GPT-2 of the same size?"""
