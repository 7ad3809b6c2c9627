"""Human pose: engines that see people in a frame, each in a process of its own, and what makes of
their answers exactly one result per frame.

    engines     what finds people: mediapipe, 4d-humans, cascade
    host        an engine in its own process and environment
    coverage    frames without a person: predicted, held, backfilled, or said to have none
    result      the record of one frame, as the service and the job give it
    draw        a skeleton in a picture

The `pose` job and the `pose` service are both made of these.
"""
