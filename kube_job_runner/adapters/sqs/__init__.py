"""The queue on Amazon SQS, and on services that speak its protocol.

- `configured`: what KJR_QUEUE names. `address`: the forms of it.
- `client`: one request, its bound and its errors. `batches`: what fits into one request.
- `message_queue`: the queue at work. `admin`: the queue made and checked by an operator.
"""
