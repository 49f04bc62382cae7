import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Tells oO of a task, or of what a person did with a tip: one JSON record on Kafka.
 *
 * <pre>
 * Quickstart BROKER task USER TASK_ID TITLE
 * Quickstart BROKER done USER DECISION_ID
 * </pre>
 *
 * BROKER is HOST:PORT, or a file of the client's settings where Kafka asks who you are.
 */
class Quickstart {
  public static void main(String[] words) throws Exception {
    String broker = words[0], what = words[1], user = words[2], about = words[3];
    boolean task = what.equals("task");
    Map<String, Object> value = task
        ? Map.of("user_id", user, "source", "quickstart",
            "task_upserted", Map.of("external_id", about, "title", words[4]))
        : Map.of("user_id", user, "decision_id", about, "kind", what.toUpperCase()); // DONE, SNOOZE, DISMISS or SEEN

    var record = new ProducerRecord<>(
        task ? "oo.signals" : "oo.reactions", user, new ObjectMapper().writeValueAsBytes(value));
    record.headers().add("content-type", "application/json".getBytes(UTF_8));
    // Sent twice with the same source and id, it counts once: better than a made-up id is one that your system has.
    record.headers().add("ce_source", "/quickstart/java".getBytes(UTF_8));
    record.headers().add("ce_id", UUID.randomUUID().toString().getBytes(UTF_8));

    var settings = new Properties();
    settings.putAll(Map.of(
        "bootstrap.servers", broker, "max.block.ms", 30_000, "delivery.timeout.ms", 30_000, "request.timeout.ms", 10_000));
    if (Files.isRegularFile(Path.of(broker))) {
      settings.load(Files.newBufferedReader(Path.of(broker)));
    }
    try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer())) {
      System.out.println(producer.send(record).get() + " has it");
    }
  }
}
