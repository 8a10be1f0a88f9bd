"""The queue on Amazon SQS, and on what speaks its protocol.

`address` is light; `queue` and `admin` import the AWS library (a second, and 50 MB), so only who talks to SQS imports them.
"""
