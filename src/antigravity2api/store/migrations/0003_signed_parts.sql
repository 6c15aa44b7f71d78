-- What a signed part needs beside its signature to come back as it was. `beside` is JSON without a word of the
-- conversation; `sealed` is encrypted under the row's own key, which the database does not hold.
ALTER TABLE signatures ADD COLUMN beside BLOB;
ALTER TABLE signatures ADD COLUMN sealed BLOB;
