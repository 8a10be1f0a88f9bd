"""The queue on Amazon SQS, and on services that speak its protocol.

- `configured`: the queue that KJR_QUEUE names. `address`: the forms of its address.
- `client`: one request, its bound and its errors. `batches`: what fits into one request.
- `message_queue`: the queue. `connect`: how it is opened. `admin`: how an operator makes and checks it.
"""
