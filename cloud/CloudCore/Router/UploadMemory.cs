using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Edge.Cloud.Router;

/// <summary>Which upload of a node it is, however often the edge sends it.</summary>
/// <param name="Version">Of its entry in an Edge peer's queue: it stays over resends, failed answers and restarts of the edge. 0: it has none (a stock edge).</param>
/// <param name="Content">Of its topic and body. A queue that was lost begins again at the clock, which may have been set back: what then has an old version says something else.</param>
/// <param name="MessageId">Of one without a version; else empty, since the edge gives an entry a new id after a failed answer and after its restart.</param>
internal readonly record struct UploadKey(string Node, long Version, uint Content, string MessageId)
{
    public static UploadKey Of(string node, long version, string messageId, string topic, ReadOnlySpan<byte> body)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes(topic));
        hash.AppendData([0]); // no topic has one (MQTT 5.0 §1.5.4)
        hash.AppendData(body);
        return new UploadKey(node, version, BinaryPrimitives.ReadUInt32BigEndian(hash.GetHashAndReset()), version > 0 ? "" : messageId);
    }

    /// <summary>What targets know a repeat by (<c>X-Edge-Message-Id</c>); the same from every cloudcore.</summary>
    public override string ToString() => Version > 0 ? $"{Node}:{Version}:{Content:x8}" : MessageId;
}

/// <summary>A Rule whose target is done with an upload: <see cref="DeliveryOutcome.Taken"/> or <see cref="DeliveryOutcome.Refused"/>.</summary>
/// <param name="Rule">Its uid.</param>
internal readonly record struct TargetDone(string Rule, DeliveryOutcome Outcome);

/// <summary>What came of the uploads of edges, so that one that comes again is posted only where it has still to go. Pure, one caller at a time.</summary>
/// <remarks>
/// <para>An edge sends an entry again until it has the answer, and after it was killed once more: it deletes answered entries a second later. So of each node the last answers are kept for as long as
/// this cloudcore lives. Where one of several targets failed, the edge is told so and sends the whole again, days later if need be: who was done is kept until the others are.</para>
/// <para>What is beyond a bound is forgotten, oldest first, and may be posted once more; so may what another cloudcore has posted.</para>
/// </remarks>
/// <param name="answersMax">Answers that are kept of a node: more than the 256 entries that an edge may have unanswered and the 64 answered ones that may wait on its disk.</param>
/// <param name="nodesMax">Nodes of which answers are kept.</param>
/// <param name="idsMax">Answers of uploads without a version, of all nodes together: nothing sends these again for long.</param>
/// <param name="partsMax">Uploads of all nodes that some targets are done with and others not; about 150 bytes each.</param>
internal sealed class UploadMemory(int answersMax = 512, int nodesMax = 16_384, int idsMax = 16_384, int partsMax = 131_072)
{
    private readonly OrderedDictionary<string, Queue<Answer>> _answers = [];
    private readonly Dictionary<UploadKey, DeliveryOutcome> _ids = [];
    private readonly Queue<UploadKey> _idsInOrder = new();
    private readonly Dictionary<UploadKey, LinkedListNode<Part>> _parts = [];
    private readonly LinkedList<Part> _partsInOrder = [];

    /// <summary>Uploads that wait for some of their targets.</summary>
    public int Parts => _parts.Count;

    /// <summary>Uploads that waited for some of their targets and were forgotten: the others get them once more.</summary>
    public long Forgotten { get; private set; }

    /// <summary>What the edge was answered; null: nothing final, or that is forgotten.</summary>
    public DeliveryOutcome? AnswerTo(UploadKey upload)
    {
        if (upload.Version == 0)
            return _ids.TryGetValue(upload, out var known) ? known : null;
        if (!_answers.TryGetValue(upload.Node, out var answers))
            return null;
        foreach (var answer in answers)
        {
            if (answer.Version == upload.Version && answer.Content == upload.Content)
                return answer.Outcome;
        }

        return null;
    }

    /// <summary>Takes out which targets are done with the upload. It is then the caller's to say how it went on, by <see cref="Keep"/> or <see cref="Answered"/>.</summary>
    public IReadOnlyList<TargetDone> Take(UploadKey upload)
    {
        if (!_parts.Remove(upload, out var part))
            return [];
        _partsInOrder.Remove(part);
        return part.Value.Done;
    }

    /// <summary>The edge is told that the upload failed, and sends it again. One without a version is not kept: its edge is told nothing.</summary>
    /// <param name="done">The targets that are not to get it then; kept as it is.</param>
    public void Keep(UploadKey upload, IReadOnlyList<TargetDone> done)
    {
        if (done.Count == 0 || upload.Version == 0)
            return;
        _parts.Add(upload, _partsInOrder.AddLast(new Part(upload, done)));
        if (_parts.Count <= partsMax)
            return;
        _parts.Remove(_partsInOrder.First!.Value.Upload);
        _partsInOrder.RemoveFirst();
        Forgotten++;
    }

    /// <summary>All targets are done with the upload, and the edge is told what came of it.</summary>
    public void Answered(UploadKey upload, DeliveryOutcome outcome)
    {
        if (upload.Version == 0)
        {
            if (_ids.Count >= idsMax)
                _ids.Remove(_idsInOrder.Dequeue());
            _ids.Add(upload, outcome);
            _idsInOrder.Enqueue(upload);
            return;
        }

        if (!_answers.TryGetValue(upload.Node, out var answers))
        {
            if (_answers.Count >= nodesMax)
                _answers.RemoveAt(0);
            _answers[upload.Node] = answers = new Queue<Answer>();
        }

        if (answers.Count >= answersMax)
            answers.Dequeue();
        answers.Enqueue(new Answer(upload.Version, upload.Content, outcome));
    }

    private readonly record struct Answer(long Version, uint Content, DeliveryOutcome Outcome);

    private readonly record struct Part(UploadKey Upload, IReadOnlyList<TargetDone> Done);
}
